"""The recorder as the controller sees it: a process to keep, and a file to write."""

import asyncio
import importlib.util
import logging
from collections.abc import Iterable

import msgspec

from argosy.process import launch
from argosy.process.process import Process, spawn
from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import ArgosyError, MissingExtra
from argosy.spec.recorder import RecordedEndpoint, RecorderConfig, report_file, told_file
from argosy.spec.settings import Home, Settings
from argosy.spec.signature import Signature
from argosy.store.durable import say
from argosy.store.endpoints import Declared
from argosy.store.payloads.columns import columns
from argosy.targets import orphans

LOG = logging.getLogger(__name__)
DRAIN = 20.0
"""Seconds for the last segments."""


def kept(endpoint: Endpoint) -> RecordedEndpoint | None:
    """What is kept of an endpoint; None for nothing."""
    if endpoint.payload is None and endpoint.monitor is None:
        return None
    return RecordedEndpoint(payload=endpoint.payload, segments=endpoint.monitor.segments if endpoint.monitor else ())


def check_recordable(endpoint: Endpoint, signature: Signature) -> None:
    """Raises InvalidArgument where a column that is to be hidden is none of the model's, MissingExtra without Arrow."""
    if endpoint.payload is None:
        return
    if importlib.util.find_spec("pyarrow") is None:
        raise MissingExtra.named("monitoring", "the payload log")
    columns(signature, endpoint.payload)


def clear(home: Home) -> None:
    """End the process of a home once it has written what it holds, and remove its files."""
    orphans.end(orphans.recorders(home), DRAIN)
    for path in (told_file(home), report_file(home)):
        path.unlink(missing_ok=True)


class Recording:
    """One home's recorder. It runs from the first endpoint that needs it to the platform's orderly end."""

    def __init__(self, home: Home, settings: Settings) -> None:
        self.home, self._store = home, settings.payload.store
        self._process: Process | None = None
        self._written: RecorderConfig | None = None

    async def start(self) -> None:
        """Adopt the process of an earlier controller; one of before 0.2 waits for replicas to connect, and is ended."""
        for found in await asyncio.to_thread(orphans.recorders, self.home):
            if launch.ENTER in found.cmdline():
                self._process = Process(found, child=False)
            else:
                await asyncio.to_thread(orphans.end, [found], DRAIN)

    def tell(self, declared: Iterable[Declared]) -> None:
        """Tell the recorder what is wanted, and start it where something is."""
        wanted = {each.endpoint.name: what for each in declared if (what := kept(each.endpoint)) is not None}
        told = RecorderConfig(endpoints=wanted, store=self._store)
        try:
            if told != self._written and (wanted or self._written or told_file(self.home).exists()):
                say(told_file(self.home), msgspec.json.encode(told))
                self._written = told
            if wanted and (self._process is None or self._process.ended()):
                root = str(self.home.root.absolute())
                child = launch.ours("argosy.monitoring.recorder", root, folder=self.home.root)
                self._process = spawn(child.command, child.environ, self.home.logs / "recorder.log")
        except (ArgosyError, OSError) as error:
            LOG.warning("the recorder: %s", error)

    async def stop(self) -> None:
        """End the process; what it holds goes to the disk first."""
        await asyncio.to_thread(clear, self.home)
