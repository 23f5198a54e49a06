"""The recorder's loop: it connects to replicas, tells them what is wanted of them, and takes what they send."""

import asyncio
import contextlib
import logging
import os
import signal
import time
from pathlib import Path

import msgspec

from argosy.monitoring.recorder.writer import VersionBuffer, Writer
from argosy.profiles.profile import Profile
from argosy.serving import frames
from argosy.serving.config import ReplicaConfig
from argosy.serving.config import read as read_config
from argosy.serving.frames import HEAD, Hello, Orders, hello
from argosy.spec.errors import ArgosyError, InvalidArgument
from argosy.spec.recorder import (
    RecordedEndpoint,
    RecorderConfig,
    RecorderReport,
    config_file,
    recorder_config,
    report_file,
)
from argosy.spec.settings import Home
from argosy.store.durable import say
from argosy.store.payloads import encode
from argosy.store.payloads.record import Rows

LOG = logging.getLogger(__name__)
LOOK = 0.5
"""Seconds between two looks at what is told."""
PROFILES = 5.0
SEND = 5.0
TIDY = 12
"""Turns of SEND between two times of tidying up."""
READ = 4 * 1024 * 1024


class Line:
    """One replica's connection."""

    def __init__(self, hello: Hello, writer: asyncio.StreamWriter) -> None:
        self.hello, self.writer = hello, writer
        self.ordered: Orders | None = None

    def order(self, orders: Orders) -> None:
        """Tell it what is wanted, if that is news."""
        if orders != self.ordered:
            self.ordered = orders
            self.writer.write(frames.encode(orders))


class Server:
    """The recorder of one home."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.report = RecorderReport(pid=os.getpid(), started=time.time())
        self._keeper = Writer(home, self.report)
        self._told = RecorderConfig()
        self._seen = 0
        self._secret = b""
        self._lines: set[Line] = set()
        self._reached: dict[Path, asyncio.Task[None]] = {}
        self._books: dict[tuple[str, str], VersionBuffer | None] = {}
        self._closed: list[VersionBuffer] = []
        self._flushed: dict[str, float] = {}
        self._disk = asyncio.Lock()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set; then everything goes to the disk."""
        self._look()
        house = asyncio.create_task(self._keep_house())
        reaching = asyncio.create_task(self._keep_reaching())
        try:
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._pace()):
                        await stop.wait()
                await self._turn()
        finally:
            for line in self._lines:
                line.writer.close()
            await asyncio.sleep(0)
            house.cancel()
            reaching.cancel()
            for task in list(self._reached.values()):
                task.cancel()
            await self._flush(last=True)

    def _pace(self) -> float:
        """Seconds to the next turn."""
        flushes = [kept.payload.flush for kept in self._told.endpoints.values() if kept.payload]
        return min(LOOK, max(0.02, min(flushes, default=LOOK) / 10))

    async def _keep_house(self) -> None:
        """Send what was written, and once a minute remove what is past its time. Writing goes on meanwhile."""
        turns, sent = 0, -1
        while True:
            if self._told.store and (self.report.waiting or self.report.records != sent):
                sent = self.report.records
                await asyncio.to_thread(self._keeper.send, self._told.store)
            if turns % TIDY == 0:
                layouts = [book.layout for book in self._books.values() if book and book.layout]
                await asyncio.to_thread(self._keeper.tidy, self._told, layouts)
            turns += 1
            await asyncio.sleep(SEND)

    async def _keep_reaching(self) -> None:
        """Connect to the replicas that await us, whatever the disk is at."""
        while True:
            for door in (self.home.run / "r").glob("*/*.rec.sock"):
                if door not in self._reached:
                    self._reached[door] = asyncio.create_task(self._serve(door))
            await asyncio.sleep(self._pace())

    async def _turn(self) -> None:
        self._look()
        await self._flush()
        self.report.replicas = len(self._lines)
        with contextlib.suppress(OSError):
            say(report_file(self.home), msgspec.json.encode(self.report))

    def _look(self) -> None:
        """Take in what is told, where that has changed."""
        with contextlib.suppress(OSError):
            seen = config_file(self.home).stat().st_mtime_ns
            if seen == self._seen:
                return
            self._seen = seen
            self._told = recorder_config(self.home)
            for key, book in list(self._books.items()):
                if book is None or book.kept != self._told.endpoints.get(key[0]):
                    self._books.pop(key)
                    self._closed += [book] if book else []
            for line in self._lines:
                self._order(line)

    def _order(self, line: Line) -> None:
        book = self._book(line.hello)
        if book is None:
            line.order(Orders())
            return
        log = book.kept.payload
        line.order(
            Orders(
                sample=log.sample if log else None,
                errors=log.errors if log else False,
                profiles=book.layout is not None,
            )
        )

    def _book(self, hello: Hello) -> VersionBuffer | None:
        kept, key = self._told.endpoints.get(hello.endpoint), (hello.endpoint, hello.version)
        if kept is None:
            return None
        if key not in self._books:
            self._books[key] = self._open(hello, kept)
        return self._books[key]

    def _open(self, hello: Hello, kept: RecordedEndpoint) -> VersionBuffer | None:
        try:
            if kept.payload and kept.payload.hash and not self._secret:
                self._secret = encode.key(self.home.root / "payload.key")
            return VersionBuffer(hello.endpoint, hello.version, Path(hello.package), kept, self._secret)
        except (ArgosyError, OSError) as error:
            text = error.message if isinstance(error, ArgosyError) else str(error)
            self.report.problem = f"nothing is kept of '{hello.endpoint}' version {hello.version}: {text}"
            LOG.warning("%s", self.report.problem)
            return None

    async def _serve(self, door: Path) -> None:
        """One replica. What it is was told to it in a file that it cannot write; it speaks for nobody else."""
        line: Line | None = None
        writer: asyncio.StreamWriter | None = None
        try:
            config = read_config(door.parent.with_suffix(".json"))
            reader, writer = await asyncio.open_unix_connection(str(door), limit=READ)
            while True:
                head, body = frames.sizes(await reader.readexactly(HEAD.size))
                data = await reader.readexactly(head + body)
                line = self._take(line, memoryview(data)[:head], memoryview(data)[head:], writer, config)
        except (OSError, EOFError, InvalidArgument) as error:
            if isinstance(error, InvalidArgument):
                self.report.broken += 1
                LOG.warning("a replica is cut off: %s", error.message)
        finally:
            self._lines.discard(line) if line else None
            if writer is not None:
                writer.close()
            self._reached.pop(door, None)

    def _take(
        self,
        line: Line | None,
        head: memoryview,
        body: memoryview,
        writer: asyncio.StreamWriter,
        config: ReplicaConfig,
    ) -> Line | None:
        try:
            frame = frames.read(head, body)
        except InvalidArgument as error:
            self.report.broken += 1
            LOG.warning("%s", error.message)
            return line
        if isinstance(frame, Hello):
            if frame not in [hello(config, model) for model in config.models]:
                raise InvalidArgument(f"replica '{config.replica}' says that it is '{frame.replica[:80]}'")
            line = Line(frame, writer)
            self._lines.add(line)
            self._order(line)
        elif isinstance(frame, Rows) and line is not None and (book := self._book(line.hello)):
            self._keep(book, line, frame)
        return line

    def _keep(self, book: VersionBuffer, line: Line, rows: Rows) -> None:
        try:
            book.take(line.hello.replica, rows)
        except Exception as error:
            self.report.broken += 1
            LOG.warning("what '%s' sent cannot be kept: %s: %s", line.hello.replica, type(error).__name__, error)

    def _profiles(self, book: VersionBuffer, before: float) -> list[Profile]:
        try:
            return book.profiles(before)
        except Exception as error:
            self.report.broken += 1
            LOG.warning("rows of '%s' cannot be counted: %s: %s", book.endpoint, type(error).__name__, error)
            return []

    async def _flush(self, last: bool = False) -> None:
        """Write what is due: the log of an endpoint after its interval, profiles when their minute is over."""
        now = time.monotonic()
        books = [book for book in self._books.values() if book]
        due = [book for book in books if last or self._due(book, now)]
        closed, self._closed = self._closed, []
        work = [(book, book.waiting(), self._profiles(book, 2**40 if last else time.time())) for book in due]
        work += [(book, book.waiting(), self._profiles(book, 2**40)) for book in closed]
        async with self._disk:
            for book, waiting, profiles in work:
                self.report.dropped += book.dropped
                book.dropped = 0
                if waiting:
                    await asyncio.to_thread(self._keeper.write, book, waiting)
                if profiles:
                    await asyncio.to_thread(self._keeper.write_profiles, book.endpoint, profiles)

    def _due(self, book: VersionBuffer, now: float) -> bool:
        every = after(book.kept.payload.flush) if book.kept.payload else PROFILES
        key = f"{book.endpoint}/{book.version}"
        if now - self._flushed.get(key, 0.0) < every:
            return False
        self._flushed[key] = now
        return True


def after(flush: float) -> float:
    """Seconds between two flushes, so that nothing is older than `flush` when it is on disk: a replica holds it for up
    to a second, and writing takes its time, too."""
    return max(flush / 10, 0.9 * flush - 1.0)


async def serve(home: Home) -> None:
    """Run the recorder of a home until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await Server(home).run(stop)
