"""`run/control.json`: how to reach the platform that runs on a home."""

from pathlib import Path

import msgspec

from argosy.spec.settings import Home
from argosy.store.durable import say


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """Where the control API listens, the process that it is part of, and when that started (seconds since 1970).

    A standby does not listen yet: its `url` is empty, and nothing is announced. Under TLS, `fingerprint` is the SHA-256
    of the certificate that the API shows, and `certificate` where that lies.
    """

    url: str
    pid: int
    started: float
    fingerprint: str = ""
    certificate: str = ""


def control_file(home: Home) -> Path:
    """Where it lies."""
    return home.run / "control.json"


def announce(home: Home, running: Running) -> None:
    """Write it, whole or not at all."""
    say(control_file(home), msgspec.json.encode(running))


def announced(home: Home, pid: int) -> Running | None:
    """What process `pid` has announced; None as long as it has not."""
    try:
        found = msgspec.json.decode(control_file(home).read_bytes(), type=Running)
    except (OSError, msgspec.MsgspecError):
        return None
    return found if found.pid == pid else None
