"""The controller's end of its driver: a child that is started anew whenever it ends, hangs or says nothing."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from pathlib import Path

import msgspec

from argosy.process import launch
from argosy.process.limit import LogLimit
from argosy.process.process import Process, spawn
from argosy.targets import log
from argosy.targets.ray.wire import Failed, Hello, Leave, Order, Table, Told

LOG = logging.getLogger(__name__)
LOG.addFilter(LogLimit(5, 60.0))
SILENT = 15.0
"""Seconds without a word after which a driver hangs."""
JOINING = 90.0
"""Seconds that one which is new has for its first."""
AGAIN, LATER = 0.5, 5.0
"""Seconds to the next driver after one that had joined, and after one that had not."""
LOOK, ANSWER = 2.0, 2.0
"""Seconds between two looks at the head, and for its answer."""
LEAVING = 20.0
"""Seconds in which the foreman is ended: for a driver to join, and for it to do so."""
LINE = 64 * 1024 * 1024
_DECODER = msgspec.json.Decoder(Told)


class Link:
    """To one cluster. `heard` gets each message of a driver; `joined` numbers the drivers that have told the table, and
    is 0 while none has. `lost`: why nothing is heard, in a user's words; empty while something is."""

    def __init__(self, hello: Hello, folder: Path, log: Path, heard: Callable[[Told | None], None]) -> None:
        self.joined, self.lost = 0, f"the platform joins the Ray cluster at {hello.address}"
        self._hello, self._folder, self._log, self._heard = hello, folder, log, heard
        self._drivers, self._why, self._away, self._leaves = 0, "", False, False
        self._writer: asyncio.StreamWriter | None = None
        self._process: Process | None = None
        self._joining = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def away(self) -> bool:
        """Whether the head does not answer: then nothing new can be started."""
        return self._away

    def start(self) -> None:
        """Begin to start drivers."""
        self._tasks = [asyncio.create_task(self._drive()), asyncio.create_task(self._look())]

    def send(self, order: Order) -> None:
        """Tell the driver, if there is one. One that ends before it has done so is followed by another."""
        if self._writer is not None:
            self._writer.write(msgspec.json.encode(order) + b"\n")

    async def close(self, *, leave: bool = False) -> None:
        """End the driver; with `leave` the foreman as well."""
        if leave and not self.away:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._joining.wait(), LEAVING)
            if self.joined and self._process is not None:
                self._leaves = True
                self.send(Leave())
                await asyncio.to_thread(self._process.wait, LEAVING)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self._end)

    def _end(self) -> None:
        if self._process is not None:
            self._process.end()

    async def _drive(self) -> None:
        while not self._leaves:  # another driver would make another foreman
            joined = False
            try:
                joined = await self._serve()
            except Exception as error:
                LOG.exception("the process that works with Ray cannot be used")
                self._why = f"the process that works with Ray cannot be used: {error}"
            finally:
                self.joined, self._writer = 0, None
                self._joining.clear()
                await asyncio.to_thread(self._end)
            if not self._leaves:
                self._tell()
                LOG.warning("the process that works with Ray ended: %s", self._why or f"look at {self._log}")
                await asyncio.sleep(AGAIN if joined else LATER)

    async def _serve(self) -> bool:
        """From the start of one driver to its end; whether it had joined."""
        log.rotate(self._log)
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        ours, theirs = socket.socketpair()
        with theirs:
            child = launch.ours("argosy.targets.ray.driver", folder=self._folder)
            self._process = spawn(child.command, child.environ, self._log, {0: theirs.fileno()})
        self._drivers += 1
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=LINE)
        try:
            writer.write(msgspec.json.encode(self._hello) + b"\n")
            patience = JOINING
            while True:
                async with asyncio.timeout(patience):
                    line = await reader.readline()
                if not line:
                    break
                told, patience = _DECODER.decode(line), SILENT
                if isinstance(told, Failed):
                    self._why = told.message
                    continue
                if isinstance(told, Table) and not self.joined:
                    self.joined, self._writer, self._why = self._drivers, writer, ""
                    self._joining.set()
                    self._lost()
                self._heard(told)
        except TimeoutError:
            self._why = "the process that works with Ray hung, and is replaced"
        finally:
            writer.close()
        return bool(self.joined)

    async def _look(self) -> None:
        """Whether the head answers: a driver learns that late."""
        host, _, port = self._hello.address.rpartition(":")
        misses = 0
        while True:
            try:
                async with asyncio.timeout(ANSWER):
                    _, writer = await asyncio.open_connection(host, int(port))
                writer.transport.abort()
                misses = 0
            except (OSError, ValueError):
                misses += 1
            if (misses > 1) != self._away:
                self._away = misses > 1
                LOG.warning("the head of the Ray cluster at %s %s", self._hello.address, _ANSWERS[not self._away])
                self._tell()
            await asyncio.sleep(LOOK)

    def _lost(self) -> None:
        self.lost = ""
        if self._away:
            self.lost = f"Ray's head is away: {self._hello.address} does not answer; what runs goes on"
        elif not self.joined:
            self.lost = self._why or f"the platform joins the Ray cluster at {self._hello.address}"

    def _tell(self) -> None:
        self._lost()
        self._heard(None)


_ANSWERS = ("does not answer", "answers again")
