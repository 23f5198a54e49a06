"""The recorder's loop: it connects to replicas, orders what is wanted of them, and takes what they send."""

import asyncio
import contextlib
import logging
import os
import signal
import time
from pathlib import Path

import msgspec

from argosy.monitoring.recorder import intake
from argosy.monitoring.recorder.intake import Sent
from argosy.monitoring.recorder.writer import VersionBuffer, Writer
from argosy.process.sockets import connect
from argosy.profiles.profile import Profile
from argosy.serving import frames
from argosy.serving.frames import HEAD, Hello, Orders
from argosy.spec.address import Address
from argosy.spec.errors import ArgosyError, InvalidArgument
from argosy.spec.recorder import (
    RecordedEndpoint,
    RecordedReplica,
    RecorderConfig,
    RecorderReport,
    config_file,
    gateway_socket,
    recorder_config,
    report_file,
)
from argosy.spec.settings import Home
from argosy.store.durable import say
from argosy.store.payloads import encode
from argosy.store.payloads.record import Rows

LOG = logging.getLogger(__name__)
READ_CONFIG = 0.5
"""Seconds between two reads of the configuration."""
PROFILES = 5.0
SEND = 5.0
TIDY = 12
"""Turns of SEND between two times of tidying up."""
READ = 4 * 1024 * 1024
ANSWER = 5.0
"""Seconds for a replica to take an upgrade."""


class Connection:
    def __init__(self, hello: Hello, writer: asyncio.StreamWriter) -> None:
        self.hello, self.writer = hello, writer
        self.ordered: Orders | None = None

    def order(self, orders: Orders) -> None:
        """Send it what is wanted, if that is news."""
        if orders != self.ordered:
            self.ordered = orders
            self.writer.write(frames.encode(orders))


class Server:
    def __init__(self, home: Home) -> None:
        self.home = home
        self.report = RecorderReport(pid=os.getpid(), started=time.time())
        self._writer = Writer(home, self.report)
        self._config = RecorderConfig()
        self._config_written = 0
        self._secret = b""
        self._connections: set[Connection] = set()
        self._reached: dict[Address, asyncio.Task[None]] = {}
        self._buffers: dict[tuple[str, str], VersionBuffer | None] = {}
        self._closed: list[VersionBuffer] = []
        self._flushed: dict[str, float] = {}
        self._disk = asyncio.Lock()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set; then everything goes to the disk."""
        self._read_config()
        prompts = intake.Intake(gateway_socket(self.home), self._sent, self._lost)
        taking = asyncio.create_task(prompts.run())
        housekeeping = asyncio.create_task(self._housekeeping())
        reaching = asyncio.create_task(self._reach())
        try:
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._pace()):
                        await stop.wait()
                await self._flush()
                self.report.replicas = len(self._connections)
                with contextlib.suppress(OSError):
                    say(report_file(self.home), msgspec.json.encode(self.report))
        finally:
            for connection in self._connections:
                connection.writer.close()
            await asyncio.sleep(0)
            for task in (taking, housekeeping, reaching, *self._reached.values()):
                task.cancel()
            await asyncio.gather(taking, return_exceptions=True)
            await self._flush(last=True)

    def _pace(self) -> float:
        """Seconds to the next turn."""
        flushes = [declared.payload.flush for declared in self._config.endpoints.values() if declared.payload]
        return min(READ_CONFIG, max(0.02, min(flushes, default=READ_CONFIG) / 10))

    async def _housekeeping(self) -> None:
        """Send what was written, and once a minute remove what is past its time. Writing goes on meanwhile."""
        turns, sent = 0, -1
        while True:
            if self._config.store and (self.report.waiting or self.report.records != sent):
                sent = self.report.records
                await asyncio.to_thread(self._writer.send, self._config.store)
            if turns % TIDY == 0:
                layouts = [buffer.layout for buffer in self._buffers.values() if buffer and buffer.layout]
                await asyncio.to_thread(self._writer.tidy, self._config, layouts)
            turns += 1
            await asyncio.sleep(SEND)

    async def _reach(self) -> None:
        """Connect to the replicas that await us, whatever the disk is at."""
        while True:
            self._read_config()
            for name, replica in self._config.replicas.items():
                if replica.address is not None and replica.address not in self._reached:
                    self._reached[replica.address] = asyncio.create_task(self._serve(replica.address, name, replica))
            await asyncio.sleep(self._pace())

    def _read_config(self) -> None:
        """Take the configuration in, where it has changed."""
        with contextlib.suppress(OSError):
            written = config_file(self.home).stat().st_mtime_ns
            if written == self._config_written:
                return
            self._config_written = written
            self._config = recorder_config(self.home)
            for key, buffer in list(self._buffers.items()):
                if buffer is None or buffer.declared != self._config.endpoints.get(key[0]):
                    self._buffers.pop(key)
                    self._closed += [buffer] if buffer else []
            for connection in self._connections:
                self._order(connection)

    def _order(self, connection: Connection) -> None:
        buffer = self._buffer(connection.hello)
        if buffer is None:
            connection.order(Orders())
            return
        log = buffer.declared.payload
        connection.order(
            Orders(
                sample=log.sample if log else None,
                errors=log.errors if log else False,
                profiles=buffer.layout is not None,
            )
        )

    def _buffer(self, hello: Hello) -> VersionBuffer | None:
        declared, key = self._config.endpoints.get(hello.endpoint), (hello.endpoint, hello.version)
        if declared is None:
            return None
        if key not in self._buffers:
            self._buffers[key] = self._open(hello, declared)
        return self._buffers[key]

    def _open(self, hello: Hello, declared: RecordedEndpoint) -> VersionBuffer | None:
        try:
            if declared.payload and declared.payload.hash and not self._secret:
                self._secret = encode.key(self.home.root / "payload.key")
            return VersionBuffer(hello.endpoint, hello.version, Path(hello.package), declared, self._secret)
        except (ArgosyError, OSError) as error:
            text = error.message if isinstance(error, ArgosyError) else str(error)
            self.report.problem = f"nothing is kept of '{hello.endpoint}' version {hello.version}: {text}"
            LOG.warning("%s", self.report.problem)
            return None

    async def _serve(self, address: Address, name: str, replica: RecordedReplica) -> None:
        """One replica. What it is, the controller says; it speaks for nobody else."""
        connection: Connection | None = None
        writer: asyncio.StreamWriter | None = None
        try:
            about = {"endpoint": replica.endpoint, "version": replica.version, "package": replica.package}
            expected = Hello(replica=name, **about)
            reader, writer = await connect(address, READ)
            if not address.path:
                await _upgrade(reader, writer)
            while True:
                head, body = frames.sizes(await reader.readexactly(HEAD.size))
                data = await reader.readexactly(head + body)
                connection = self._take(connection, memoryview(data)[:head], memoryview(data)[head:], writer, expected)
        except (OSError, EOFError, InvalidArgument) as error:
            if isinstance(error, InvalidArgument):
                self.report.broken += 1
                LOG.warning("a replica is cut off: %s", error.message)
        finally:
            self._connections.discard(connection) if connection else None
            if writer is not None:
                writer.close()
            self._reached.pop(address, None)

    def _take(
        self,
        connection: Connection | None,
        head: memoryview,
        body: memoryview,
        writer: asyncio.StreamWriter,
        expected: Hello,
    ) -> Connection | None:
        try:
            frame = frames.read(head, body)
        except InvalidArgument as error:
            self.report.broken += 1
            LOG.warning("%s", error.message)
            return connection
        if isinstance(frame, Hello):
            said = (frame.endpoint, frame.version)
            if said != (expected.endpoint, expected.version):
                raise InvalidArgument(f"replica '{expected.replica}' says that it is '{': '.join(said)[:120]}'")
            connection = Connection(expected, writer)
            self._connections.add(connection)
            self._order(connection)
        elif isinstance(frame, Rows) and connection is not None and (buffer := self._buffer(connection.hello)):
            self._record(buffer, connection.hello.replica, frame)
        return connection

    async def _sent(self, sent: list[Sent]) -> None:
        """Requests to language models, of versions whose replicas there are, or were a moment ago."""
        logs = {name: each.payload for name, each in self._config.endpoints.items() if each.payload is not None}
        packages = {(each.endpoint, each.version): each.package for each in self._config.replicas.values()}
        for endpoint, version, replica, rows in await asyncio.to_thread(intake.rows, sent, logs):
            package = packages.get((endpoint, version), "")
            hello = Hello(replica=replica, endpoint=endpoint, version=version, package=package)
            buffer = self._buffer(hello) if package or (endpoint, version) in self._buffers else None
            if buffer is None:
                self._lost(len(rows.ids), 0)
            else:
                self._record(buffer, replica, rows)

    def _lost(self, requests: int, broken: int) -> None:
        self.report.dropped += requests
        self.report.broken += broken

    def _record(self, buffer: VersionBuffer, replica: str, rows: Rows) -> None:
        try:
            buffer.take(replica, rows)
        except Exception as error:
            self.report.broken += 1
            LOG.warning("what '%s' sent cannot be recorded: %s: %s", replica, type(error).__name__, error)

    def _profiles(self, buffer: VersionBuffer, before: float) -> list[Profile]:
        try:
            return buffer.profiles(before)
        except Exception as error:
            self.report.broken += 1
            LOG.warning("rows of '%s' cannot be counted: %s: %s", buffer.endpoint, type(error).__name__, error)
            return []

    async def _flush(self, last: bool = False) -> None:
        """Write what is due: the log of an endpoint after its interval, profiles when their minute is over."""
        now = time.monotonic()
        buffers = [buffer for buffer in self._buffers.values() if buffer]
        due = [buffer for buffer in buffers if last or self._due(buffer, now)]
        closed, self._closed = self._closed, []
        work = [(buffer, buffer.waiting(), self._profiles(buffer, 2**40 if last else time.time())) for buffer in due]
        work += [(buffer, buffer.waiting(), self._profiles(buffer, 2**40)) for buffer in closed]
        async with self._disk:
            for buffer, waiting, profiles in work:
                self.report.dropped += buffer.dropped
                buffer.dropped = 0
                if waiting:
                    await asyncio.to_thread(self._writer.write, buffer, waiting)
                if profiles:
                    await asyncio.to_thread(self._writer.write_profiles, buffer.endpoint, profiles)

    def _due(self, buffer: VersionBuffer, now: float) -> bool:
        every = after(buffer.declared.payload.flush) if buffer.declared.payload else PROFILES
        key = f"{buffer.endpoint}/{buffer.version}"
        if now - self._flushed.get(key, 0.0) < every:
            return False
        self._flushed[key] = now
        return True


async def _upgrade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Have a connection to a replica's HTTP listener be one for frames. Raises OSError, EOFError."""
    host = "Host: replica\r\nConnection: upgrade\r\nUpgrade: argosy-records"
    writer.write(f"GET /argosy/records HTTP/1.1\r\n{host}\r\n\r\n".encode())
    try:
        async with asyncio.timeout(ANSWER):
            head = await reader.readuntil(b"\r\n\r\n")
    except (TimeoutError, asyncio.LimitOverrunError):
        head = b""
    if not head.startswith(b"HTTP/1.1 101 "):
        raise ConnectionError("the replica takes no recorder here")


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
