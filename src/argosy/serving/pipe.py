"""From a replica to the recorder: frames on a stream that is never waited for."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from argosy.serving import frames
from argosy.serving.frames import HEAD, Hello, Orders, Side
from argosy.serving.line import Door, Line
from argosy.spec.errors import ArgosyError
from argosy.spec.tensor import Array, nbytes

ENOUGH = 1024
"""Requests of a frame; fewer are sent by `flush`."""
BLOCK_BYTES = 4 * 1024 * 1024
MOST_BYTES = 16 * 1024 * 1024
"""What may wait for a recorder that lags; more is dropped."""

Tensor = tuple[Side, str, str, Array]


class Requests(NamedTuple):
    """Some requests (dtype REQUEST) with their ids, and all their rows: side, name, datatype, array. `failures` has
    code and message of each, or none at all."""

    table: Array
    ids: Sequence[str | bytes]
    tensors: Sequence[Tensor]
    failures: Sequence[tuple[str, str]] = ()


class Pipe:
    """One connection, accepted at `door` when a recorder is there; `ordered` gets its orders. Requests are gathered
    until a frame is worth its sending; `sent` and `dropped` count those that are for the log.

    All methods belong to the event loop.
    """

    def __init__(self, door: Door, hello: Hello, ordered: Callable[[Orders], None]) -> None:
        self._door, self._hello, self._ordered = door, frames.encode(hello), ordered
        self._parts: list[Requests] = []
        self._form: object = None
        self._count = self._size = 0
        self._line: Line | None = None
        self._waiting: deque[tuple[deque[memoryview | bytes], int]] = deque()
        self._bytes = 0
        self._read = bytearray()
        self._writing = False
        self.sent = self.dropped = 0

    def connect(self) -> None:
        """Accept the recorder's connection, unless there is one, or nobody has come."""
        if self._line is not None or (line := self._door.accept(self._received, self._write)) is None:
            return
        try:
            line.send([self._hello])
        except OSError:
            line.close()
            return
        self._line = line

    def add(self, part: Requests) -> None:
        """Send these requests, soon."""
        size = sum(nbytes(array) for _, _, _, array in part.tensors)
        form = (bool(part.failures), [(side, name, array.shape[1:]) for side, name, _, array in part.tensors])
        if self._parts and (form != self._form or self._size + size > BLOCK_BYTES):
            self.flush()
        self._form = form
        self._parts.append(part)
        self._count += len(part.table)
        self._size += size
        if self._count >= ENOUGH or self._size >= BLOCK_BYTES:
            self.flush()

    def flush(self) -> None:
        """Send what is gathered, or as much as goes at once and the rest later; drop it where too much waits."""
        parts, self._parts = self._parts, []
        self._count = self._size = 0
        if not parts:
            return
        whole = parts[0] if len(parts) == 1 else _joined(parts)
        records = int(np.count_nonzero(whole.table["weight"]))
        buffers = frames.encode_block(*whole)
        size = sum(map(len, buffers))
        if self._line is None or self._bytes + size > MOST_BYTES:
            self.dropped += records
            return
        self.sent += records
        self._bytes += size
        self._waiting.append((deque(buffers), records))
        if not self._writing:
            self._write()

    def close(self) -> None:
        """Send the last, for a moment at most, and disconnect."""
        self.flush()
        if self._line is not None:
            self._listen(False)
            self._line.last()
            try:
                while self._waiting:
                    self._send(self._line)
            except OSError:
                pass
        self._disconnect()

    def _write(self) -> None:
        try:
            while self._waiting and self._line is not None:
                self._send(self._line)
        except BlockingIOError:
            pass
        except OSError:
            self._disconnect()
            return
        self._listen(bool(self._waiting))

    def _send(self, line: Line) -> None:
        """Send of the first frame as much as goes."""
        buffers, _ = self._waiting[0]
        sent = line.send(buffers)
        self._bytes -= sent
        while buffers and sent >= len(buffers[0]):
            sent -= len(buffers.popleft())
        if sent:
            buffers[0] = memoryview(buffers[0])[sent:]
        if not buffers:
            self._waiting.popleft()

    def _listen(self, wanted: bool) -> None:
        if self._line is not None and wanted != self._writing:
            self._writing = wanted
            self._line.wait(wanted)

    def _received(self, data: bytes) -> None:
        if self._line is None:
            return
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
                    self._ordered(message)
        except ArgosyError:
            data = b""
        if not data:
            self._disconnect()

    def _disconnect(self) -> None:
        """Close the connection. What waits is lost."""
        if self._line is None:
            return
        self._listen(False)
        self._line.close()
        self._line = None
        records = sum(records for _, records in self._waiting)
        self.sent -= records
        self.dropped += records
        self._waiting.clear()
        self._read.clear()
        self._bytes = 0


def _joined(parts: Sequence[Requests]) -> Requests:
    return Requests(
        np.concatenate([part.table for part in parts]),
        [id for part in parts for id in part.ids],
        [
            (side, name, datatype, np.concatenate([part.tensors[place][3] for part in parts]))
            for place, (side, name, datatype, _) in enumerate(parts[0].tensors)
        ],
        [failure for part in parts for failure in part.failures],
    )
