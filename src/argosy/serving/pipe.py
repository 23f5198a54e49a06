"""The line from a replica to the recorder: a Unix stream that is never waited for.

It is the recorder that connects: a replica's model may make no socket that leads to others (`process/sandbox.py`).
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from pathlib import Path

import msgspec

from argosy.process.sockets import bind
from argosy.serving import frames
from argosy.serving.frames import HEAD, Hello, Orders
from argosy.spec.errors import ArgosyError

MOST_BYTES = 16 * 1024 * 1024
"""What may wait for a recorder that lags; more is dropped."""
_SEND = 4 * 1024 * 1024
_IOV = 512

Buffers = list[memoryview | bytes]


def listener(path: str) -> socket.socket:
    """Where a recorder is awaited."""
    line = bind(Path(path))
    line.setblocking(False)
    line.listen(8)
    return line


class PendingFrame(msgspec.Struct):
    """A frame that is not sent yet, in what is left of its buffers; it holds so many records."""

    buffers: deque[memoryview | bytes]
    records: int


class Pipe:
    """One connection, taken from `door` when a recorder is there. `heard` gets its orders, `lost` how many records were
    dropped.

    All methods belong to the event loop.
    """

    def __init__(
        self, door: socket.socket, hello: Hello, heard: Callable[[Orders], None], lost: Callable[[int], None]
    ) -> None:
        self._door, self._hello = door, frames.told(hello)
        self._heard, self._lost = heard, lost
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = None
        self._waiting: deque[PendingFrame] = deque()
        self._bytes = 0
        self._read = bytearray()
        self._writing = False

    def connect(self) -> None:
        """Take the recorder's connection, unless there is one, or nobody has come."""
        if self._socket is not None:
            return
        try:
            line, _ = self._door.accept()
        except OSError:
            return
        try:
            line.setblocking(False)
            line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND)
            line.send(self._hello)
        except OSError:
            line.close()
            return
        self._socket = line
        self._loop.add_reader(line, self._readable)

    def send(self, buffers: Buffers, records: int) -> None:
        """Send a frame, or as much as goes at once and the rest later; drop it where too much waits."""
        size = sum(map(len, buffers))
        if self._socket is None or self._bytes + size > MOST_BYTES:
            self._lost(records)
            return
        self._bytes += size
        self._waiting.append(PendingFrame(deque(buffers), records))
        if not self._writing:
            self._write()

    def _write(self) -> None:
        try:
            while self._waiting and self._socket is not None:
                first = self._waiting[0].buffers
                sent = self._socket.sendmsg([first[place] for place in range(min(len(first), _IOV))])
                self._bytes -= sent
                if _past(first, sent):
                    self._waiting.popleft()
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        self._listen(bool(self._waiting))

    def _listen(self, wanted: bool) -> None:
        if self._socket is not None and wanted != self._writing:
            self._writing = wanted
            if wanted:
                self._loop.add_writer(self._socket, self._write)
            else:
                self._loop.remove_writer(self._socket)

    def _readable(self) -> None:
        if self._socket is None:
            return
        try:
            data = self._socket.recv(64 * 1024)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._read += data
        try:
            while len(self._read) >= HEAD.size:
                head, body = frames.sizes(bytes(self._read[: HEAD.size]))
                end = HEAD.size + head + body
                if len(self._read) < end:
                    break
                message = frames.read(bytes(self._read[HEAD.size : HEAD.size + head]), b"")
                del self._read[:end]
                if isinstance(message, Orders):
                    self._heard(message)
        except ArgosyError:
            data = b""
        if not data:
            self.close()

    def close(self, patience: float = 0.0) -> None:
        """Let go of the connection. What waits is lost, unless it can be sent within `patience` seconds."""
        if self._socket is None:
            return
        self._listen(False)
        if patience:
            self._last(patience)
        self._loop.remove_reader(self._socket)
        self._socket.close()
        self._socket = None
        records = sum(each.records for each in self._waiting)
        self._waiting.clear()
        self._read.clear()
        self._bytes = 0
        if records:
            self._lost(records)

    def _last(self, patience: float) -> None:
        assert self._socket is not None
        self._socket.settimeout(patience)
        try:
            while self._waiting:
                first = self._waiting[0].buffers
                if _past(first, self._socket.sendmsg(list(first)[:_IOV])):
                    self._waiting.popleft()
        except OSError:
            pass


def _past(buffers: deque[memoryview | bytes], sent: int) -> bool:
    """Take what was sent off; whether that was all."""
    while buffers and sent >= len(buffers[0]):
        sent -= len(buffers.popleft())
    if sent:
        buffers[0] = memoryview(buffers[0])[sent:]
    return not buffers
