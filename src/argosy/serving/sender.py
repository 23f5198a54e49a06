"""What goes to the recorder, gathered until a frame is worth its sending."""

import socket
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from argosy.serving import frames
from argosy.serving.frames import Hello, Orders, Side
from argosy.serving.pipe import Pipe
from argosy.spec.tensor import Array

ENOUGH = 1024
"""Requests of a frame; fewer go when they are told to."""
BLOCK_BYTES = 4 * 1024 * 1024
PATIENCE = 0.5
"""Seconds for the last frames of a replica that ends."""

Tensor = tuple[Side, str, str, Array]
Id = str | bytes
Failure = tuple[str, str]
"""Code and message of an error."""


class Requests(NamedTuple):
    """Some requests (dtype REQUEST) with their ids, and all their rows: side, name, datatype, array. `failures` has one
    for each, or none at all."""

    table: Array
    ids: Sequence[Id]
    tensors: Sequence[Tensor]
    failures: Sequence[Failure] = ()


class Sender:
    """The way to the recorder. `sent` and `dropped` count what is for the log."""

    def __init__(self, door: socket.socket, hello: Hello, heard: Callable[[Orders], None]) -> None:
        self._pipe = Pipe(door, hello, heard, self._lost)
        self._parts: list[Requests] = []
        self._alike: object = None
        self._count = self._size = 0
        self.sent = self.dropped = 0

    def add(self, part: Requests) -> None:
        """Send these requests, soon."""
        size = sum(weigh(array) for _, _, _, array in part.tensors)
        alike = (bool(part.failures), [(side, name, array.shape[1:]) for side, name, _, array in part.tensors])
        if self._parts and (alike != self._alike or self._size + size > BLOCK_BYTES):
            self.flush()
        self._alike = alike
        self._parts.append(part)
        self._count += len(part.table)
        self._size += size
        if self._count >= ENOUGH or self._size >= BLOCK_BYTES:
            self.flush()

    def flush(self) -> None:
        """Send what is gathered."""
        parts, self._parts = self._parts, []
        self._count = self._size = 0
        if parts:
            whole = parts[0] if len(parts) == 1 else _whole(parts)
            records = int(np.count_nonzero(whole.table["weight"]))
            self.sent += records
            self._pipe.send(frames.packed(*whole), records)

    def connect(self) -> None:
        """Take the recorder's connection, unless there is one already."""
        self._pipe.connect()

    def close(self) -> None:
        """Send the last, and let go of the recorder."""
        self.flush()
        self._pipe.close(PATIENCE)

    def _lost(self, records: int) -> None:
        self.sent -= records
        self.dropped += records


def weigh(array: Array) -> int:
    """Bytes, those of its texts included."""
    return sum(map(len, array.reshape(-1).tolist())) if array.dtype == object else array.nbytes


def _whole(parts: Sequence[Requests]) -> Requests:
    return Requests(
        np.concatenate([part.table for part in parts]),
        [id for part in parts for id in part.ids],
        [
            (side, name, datatype, np.concatenate([part.tensors[place][3] for part in parts]))
            for place, (side, name, datatype, _) in enumerate(parts[0].tensors)
        ],
        [failure for part in parts for failure in part.failures],
    )
