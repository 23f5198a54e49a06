"""The processes beside the controller that read from a file what is wanted of them; what the recorder records."""

import asyncio
import logging
from collections.abc import Iterable, Sized
from pathlib import Path

import msgspec
import psutil

from argosy.process.managed import Managed
from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import ArgosyError
from argosy.spec.recorder import RecordedEndpoint, RecorderConfig, config_file, report_file
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
    """One home's recorder or activator. It runs from the first endpoint that needs it to the platform's orderly end.
    `file` says what is wanted; `files` are others that it leaves."""

    def __init__(self, name: str, process: Managed, file: Path, *files: Path) -> None:
        self._name, self._process, self._file, self._files = name, process, file, (file, *files)
        self._written = b""

    def found(self) -> list[psutil.Process]:
        """Its processes."""
        return self._process.found()

    async def start(self) -> None:
        """Adopt the process of an earlier controller."""
        await asyncio.to_thread(self._process.adopt)

    def want(self, wanted: object, by: Sized) -> None:
        """Write what is wanted, where it has changed, and have the process run while anything is (`by` is not empty).
        What fails is logged, and tried again with the next call."""
        data = msgspec.json.encode(wanted)
        try:
            if data != self._written and (by or self._file.exists()):
                say(self._file, data)
                self._written = data
            if by:
                self._process.ensure()
        except (ArgosyError, OSError) as error:
            LOG.warning("the %s: %s", self._name, error)

    async def stop(self) -> None:
        """End the process once it has written what it holds."""
        await asyncio.to_thread(self.clear)

    def clear(self) -> None:
        """End the process, whoever started it, and remove its files."""
        self._process.end()
        for path in self._files:
            path.unlink(missing_ok=True)


def recorder(home: Home) -> Sidecar:
    """The recorder of a home."""
    process = Managed(
        "argosy.monitoring.recorder", home.root, folder=home.root, log=home.logs / "recorder.log", drain=DRAIN
    )
    return Sidecar("recorder", process, config_file(home), report_file(home))


class Recording:
    """What one home's recorder is to record."""

    def __init__(self, home: Home, settings: Settings) -> None:
        self.sidecar, self._store = recorder(home), settings.payload.store

    def update(self, declared: Iterable[Declared]) -> None:
        """Write what is wanted for the recorder, and start it where something is."""
        wanted = {each.endpoint.name: what for each in declared if (what := recorded(each.endpoint)) is not None}
        self.sidecar.want(RecorderConfig(endpoints=wanted, store=self._store), by=wanted)
