"""The configuration of the recorder, a file that the controller writes; and its report, a file that it writes."""

from pathlib import Path

import msgspec

from argosy.spec.address import Address
from argosy.spec.payload import PayloadLog
from argosy.spec.settings import Home
from argosy.spec.strict import stored


class RecordedEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """What is recorded of one endpoint: a log, profiles, both. `segments` are columns whose values have profiles of
    their own."""

    payload: PayloadLog | None = None
    profiles: bool = True
    segments: tuple[str, ...] = ()


class RecordedReplica(msgspec.Struct, frozen=True, kw_only=True):
    """Where a replica awaits the recorder, and what it may say that it is: a version of an endpoint, from a package. Of
    language models the gateway speaks, and nothing is awaited."""

    address: Address | None
    endpoint: str
    version: str
    package: str


class RecorderConfig(msgspec.Struct, frozen=True, kw_only=True):
    """By endpoint, and by replica; `store` is the object store that the log is sent to, empty for none."""

    endpoints: dict[str, RecordedEndpoint] = {}
    replicas: dict[str, RecordedReplica] = {}
    store: str = ""


class RecorderReport(msgspec.Struct, kw_only=True):
    """What became of it since its start. `records` are requests; `dropped` those that could not be recorded, `broken`
    frames that could not be read, `waiting` segments that are not in the object store yet, `merged` segments that
    became part of larger ones. `problem`: the last one that still holds."""

    pid: int
    started: float
    replicas: int = 0
    records: int = 0
    dropped: int = 0
    profiles: int = 0
    broken: int = 0
    shipped: int = 0
    waiting: int = 0
    removed: int = 0
    merged: int = 0
    problem: str = ""


def config_file(home: Home) -> Path:
    """Written by the controller."""
    return home.run / "recorder.json"


def report_file(home: Home) -> Path:
    """Written by the recorder."""
    return home.run / "recorder.report"


def gateway_socket(home: Home) -> Path:
    """Where the recorder awaits what gateways say of requests to language models."""
    return home.run / "recorder.sock"


def recorder_config(home: Home) -> RecorderConfig:
    """The configuration; nothing where there is no such file."""
    return stored(config_file(home), RecorderConfig) or RecorderConfig()


def read_report(home: Home) -> RecorderReport | None:
    """The last report; None where there is none."""
    return stored(report_file(home), RecorderReport)
