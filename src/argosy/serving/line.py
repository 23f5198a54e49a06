"""Where a recorder is awaited, and the connection to it once it has come: on a Unix socket or, where a replica is
reached over the network, on a connection of its HTTP listener that the recorder has upgraded.

It is the recorder that connects: a replica's model may make no socket that leads to others (`process/sandbox.py`).
Nothing here is waited for. All methods belong to the event loop.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import cast

from argosy.process.sockets import bind

CLOSE_SECONDS = 0.5
"""For the last frames of a replica that ends."""
_SEND = 4 * 1024 * 1024
_IOV = 512
_MOST = 8
"""Recorders that wait to be taken."""
Read = Callable[[bytes], None]
"""Gets what arrived; nothing once the connection has ended."""
Write = Callable[[], None]
Buffers = Iterable[bytes | memoryview]


class SocketDoor:
    def __init__(self, path: str) -> None:
        self.socket = bind(Path(path))
        self.socket.setblocking(False)
        self.socket.listen(_MOST)

    def accept(self, read: Read, write: Write) -> "Line | None":
        """The connection of the next recorder that has come."""
        try:
            line, _ = self.socket.accept()
        except OSError:
            return None
        line.setblocking(False)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND)
        return SocketLine(line, read, write)

    def close(self) -> None:
        self.socket.close()


class SocketLine:
    def __init__(self, line: socket.socket, read: Read, write: Write) -> None:
        self._socket, self._read, self._write = line, read, write
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(line, self._readable)

    def _readable(self) -> None:
        try:
            data = self._socket.recv(64 * 1024)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._read(data)

    def send(self, buffers: Buffers) -> int:
        """Send of these as much as goes at once: how many bytes. Raises BlockingIOError where none does, OSError."""
        return self._socket.sendmsg(list(islice(buffers, _IOV)))

    def wait(self, wanted: bool) -> None:
        """Have `write` called when more can be sent, or no more."""
        if wanted:
            self._loop.add_writer(self._socket, self._write)
        else:
            self._loop.remove_writer(self._socket)

    def last(self) -> None:
        """From now on take all that is sent, for at most `CLOSE_SECONDS`."""
        self._socket.settimeout(CLOSE_SECONDS)

    def close(self) -> None:
        """Disconnect; `read` is not called any more."""
        self._loop.remove_writer(self._socket)
        self._loop.remove_reader(self._socket)
        self._socket.close()


class UpgradeDoor:
    """Connections that recorders have upgraded."""

    def __init__(self) -> None:
        self._come: deque[asyncio.Transport] = deque()

    def give(self, transport: asyncio.Transport) -> None:
        """A recorder has come on this connection. Of too many the first ones are ended."""
        self._come.append(transport)
        while len(self._come) > _MOST:
            self._come.popleft().abort()

    def accept(self, read: Read, write: Write) -> "Line | None":
        """The next connection whose other side is still there."""
        while self._come:
            transport = self._come.popleft()
            if not transport.is_closing():
                return UpgradedLine(transport, read, write)
        return None

    def close(self) -> None:
        while self._come:
            self._come.popleft().abort()


class UpgradedLine(asyncio.Protocol):
    """A connection that began as one of HTTP; its methods are those of `SocketLine`."""

    def __init__(self, transport: asyncio.Transport, read: Read, write: Write) -> None:
        self._transport, self._read, self._write = transport, read, write
        self._full = self._wanted = self._last = self._closed = False
        transport.set_write_buffer_limits(_SEND)
        transport.set_protocol(self)
        transport.resume_reading()

    def send(self, buffers: Buffers) -> int:
        if self._transport.is_closing():
            raise ConnectionResetError
        if self._full and not self._last:
            raise BlockingIOError
        data = b"".join(islice(buffers, _IOV))
        self._transport.write(data)
        return len(data)

    def wait(self, wanted: bool) -> None:
        self._wanted = wanted

    def last(self) -> None:
        self._last = True

    def close(self) -> None:
        """See `Line`: what was taken is sent meanwhile."""
        self._closed = True
        self._transport.close()
        asyncio.get_running_loop().call_later(CLOSE_SECONDS, self._transport.abort)

    def pause_writing(self) -> None:
        """asyncio: the other side reads too slowly."""
        self._full = True

    def resume_writing(self) -> None:
        """asyncio: it has read."""
        self._full = False
        if self._wanted:
            self._write()

    def data_received(self, data: bytes) -> None:
        """asyncio: something arrived."""
        if not self._closed:
            self._read(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the connection has ended."""
        if not self._closed:
            self._read(b"")


Line = SocketLine | UpgradedLine
Door = SocketDoor | UpgradeDoor


def upgraded(transport: asyncio.BaseTransport) -> asyncio.Transport:
    """Tell the other side that its connection is one for records from now on."""
    line = cast("asyncio.Transport", transport)
    line.write(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: argosy-records\r\n\r\n")
    return line
