"""The processes beside the controller that read from a file what is wanted of them: what the recorder records, and
whose tokens are counted."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sized
from pathlib import Path

import msgspec
import psutil

from argosy.process import launch
from argosy.process.managed import commands
from argosy.process.process import Process, end, spawn
from argosy.quota.server import PricedEndpoint, QuotaConfig, quota_socket
from argosy.quota.server import config_file as config_of_quota
from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import ArgosyError
from argosy.spec.language import TokenLimits
from argosy.spec.recorder import RecordedEndpoint, RecordedReplica, RecorderConfig, config_file, report_file
from argosy.spec.revision import Revision, RevisionStatus
from argosy.spec.settings import Home, Settings
from argosy.store.durable import say
from argosy.store.endpoints import Declared

LOG = logging.getLogger(__name__)
DRAIN = 20.0
"""Seconds for the last segments."""


def recorded(endpoint: Endpoint) -> RecordedEndpoint | None:
    """What is recorded of an endpoint; None for nothing."""
    if endpoint.payload is None and endpoint.monitor is None:
        return None
    return RecordedEndpoint(payload=endpoint.payload, segments=endpoint.monitor.segments if endpoint.monitor else ())


class Sidecar:
    """One home's recorder, activator or ledger of tokens, `python -m MODULE ARGUMENT`. It runs from the first endpoint
    that needs it to the platform's orderly end, goes on when its controller ends, and is adopted by the next one.

    It reads from `file` what is wanted; `files` are others that it leaves. It has `drain` seconds to write what it
    holds.
    """

    def __init__(
        self, module: str, argument: Path, file: Path, *files: Path, folder: Path, log: Path, drain: float = 0.0
    ) -> None:
        self._command = [module, str(argument.absolute())]
        self._file, self._files = file, (file, *files)
        self._folder, self._log, self._drain = folder, log, drain
        self._process: Process | None = None
        self._written = b""

    def found(self) -> list[psutil.Process]:
        """The processes that run this module with this argument."""
        return [process for process, words in commands() if words[-2:] == self._command]

    async def start(self) -> None:
        """Adopt the process of an earlier controller."""
        for found in await asyncio.to_thread(self.found):
            with contextlib.suppress(psutil.Error):
                self._process = Process(found, child=False)

    def want(self, wanted: object, by: Sized) -> None:
        """Write what is wanted, where it has changed, and have the process run while anything is (`by` is not empty).
        What fails is logged, and tried again with the next call."""
        data = msgspec.json.encode(wanted)
        try:
            if data != self._written and (by or self._file.exists()):
                say(self._file, data)
                self._written = data
            if by and (self._process is None or self._process.ended()):
                child = launch.ours(*self._command, folder=self._folder)
                self._process = spawn(child.command, child.environ, self._log)
        except (ArgosyError, OSError) as error:
            LOG.warning("%s: %s", self._command[0], error)

    async def stop(self) -> None:
        """End the process, whoever started it, once it has written what it holds, and remove its files."""
        await asyncio.to_thread(lambda: end(self.found(), self._drain))
        for path in self._files:
            path.unlink(missing_ok=True)


def recorder(home: Home) -> Sidecar:
    return Sidecar(
        "argosy.monitoring.recorder",
        home.root,
        config_file(home),
        report_file(home),
        folder=home.root,
        log=home.logs / "recorder.log",
        drain=DRAIN,
    )


def quota(home: Home) -> Sidecar:
    """The process that gives leases of tokens, of a home."""
    files = (config_of_quota(home.run), quota_socket(home.run))
    return Sidecar("argosy.quota", home.root, *files, folder=home.root, log=home.logs / "quota.log")


class Quotas:
    """Whose tokens one home's ledger counts, and what they cost; `log` is the gateway's. `shared` says of a key whether
    other regions have a part of its limits."""

    def __init__(self, home: Home, log: str) -> None:
        self.sidecar, self._log = quota(home), log
        self.shared: Callable[[str], bool] = lambda key: False

    def update(
        self, declared: Iterable[Declared], revisions: Mapping[str, Revision], limits: Mapping[str, TokenLimits]
    ) -> None:
        """Write it, and start the process where there is a language model."""
        endpoints = {
            each.endpoint.name: PricedEndpoint(price=each.endpoint.price, timeout=each.endpoint.timeout)
            for each in declared
            if each.endpoint.language or each.endpoint.price or revisions[each.revision].language
        }
        shares = tuple(filter(self.shared, limits))
        config = QuotaConfig(log=self._log, keys=dict(limits), shares=shares, endpoints=endpoints)
        self.sidecar.want(config, by=endpoints)


class Recording:
    """What one home's recorder is to record. Of `fleets` it is the logs that it looks after: devices report to the
    platform."""

    def __init__(self, home: Home, settings: Settings) -> None:
        self.sidecar, self._home, self._store = recorder(home), home, settings.payload.store
        self.fleets: Callable[[], Iterable[Declared]] = tuple

    def update(self, declared: Iterable[Declared], running: Iterable[tuple[Revision, RevisionStatus]] = ()) -> None:
        """Write what is wanted for the recorder, and start it where something is."""
        every = (*declared, *self.fleets())
        wanted = {each.endpoint.name: what for each in every if (what := recorded(each.endpoint)) is not None}
        replicas = {
            replica.id: RecordedReplica(
                address=replica.recorder,
                endpoint=revision.endpoint,
                version=revision.version,
                package=str(self._home.package(revision.digest)),
            )
            for revision, status in running
            for replica in status.replicas
            if (replica.recorder is not None or revision.language) and revision.endpoint in wanted
        }
        self.sidecar.want(RecorderConfig(endpoints=wanted, replicas=replicas, store=self._store), by=wanted)
