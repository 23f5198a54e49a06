"""Answers kept for comparison: of requests that the gateway marked while a candidate is tried in the shadow.

The gateway sends such a request to the stable revision and a copy to the candidate, under one `x-request-id`. Either
replica keeps its answer until the controller fetches it: `POST /argosy/answers` hands out and forgets, as msgpack.
"""

import time
from collections import deque
from collections.abc import Callable

import msgspec
import numpy as np

from argosy.protocol.rest import Response
from argosy.serving.sender import weigh
from argosy.spec.errors import ArgosyError
from argosy.spec.tensor import NUMPY, Tensor

Done = Callable[[Response | Exception], object]
MOST = 4096
MOST_BYTES = 32 * 1024 * 1024
MOST_OF_ONE = 1024 * 1024


class Output(msgspec.Struct, frozen=True, array_like=True):
    """A tensor: BYTES as a list, everything else as its raw little-endian elements."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: bytes | list[bytes]

    @property
    def size(self) -> int:
        """Its bytes."""
        return len(self.data) if isinstance(self.data, bytes) else sum(len(each) for each in self.data)

    def tensor(self) -> Tensor:
        """As it was answered."""
        if isinstance(self.data, bytes):
            array = np.frombuffer(self.data, NUMPY[self.datatype])
        else:
            array = np.array(self.data, object)
        return Tensor(self.name, self.datatype, array.reshape(self.shape))


class RecordedAnswer(msgspec.Struct, frozen=True, array_like=True):
    """What one request got: the `x-request-id` it came with, `ok` or the code of its error, nanoseconds from decoded to
    answered, and its outputs. None: they were more than 1 MiB, or it failed."""

    id: str
    code: str
    ns: int
    outputs: tuple[Output, ...] | None = None

    @property
    def size(self) -> int:
        """About its bytes."""
        return 100 + sum(each.size for each in self.outputs or ())


class Handed(msgspec.Struct, frozen=True, array_like=True):
    """What `POST /argosy/answers` answers. `dropped`: answers that had to make room since the last time."""

    answers: tuple[RecordedAnswer, ...] = ()
    dropped: int = 0


class Answers:
    """The answers kept by one replica: the newest, within bounds."""

    def __init__(self) -> None:
        self._kept: deque[RecordedAnswer] = deque()
        self._bytes = self._dropped = 0

    def keep(self, id: str, ns: int, result: Response | Exception) -> None:
        """Keep one."""
        answer = _answer(id, ns, result)
        self._kept.append(answer)
        self._bytes += answer.size
        while len(self._kept) > MOST or self._bytes > MOST_BYTES:
            self._bytes -= self._kept.popleft().size
            self._dropped += 1

    def keeping(self, id: str, done: Done) -> Done:
        """`done`, which keeps the answer of a request that begins now before it hands it on."""
        start = time.perf_counter_ns()

        def kept(result: Response | Exception) -> None:
            self.keep(id, time.perf_counter_ns() - start, result)
            done(result)

        return kept

    def hand_out(self) -> bytes:
        """`Handed` as msgpack; they are forgotten."""
        data = msgspec.msgpack.encode(Handed(tuple(self._kept), self._dropped))
        self._kept.clear()
        self._bytes = self._dropped = 0
        return data


def read(data: bytes) -> Handed:
    """The other end of `hand_out`. Raises msgspec.ValidationError."""
    return msgspec.msgpack.decode(data, type=Handed)


def _answer(id: str, ns: int, result: Response | Exception) -> RecordedAnswer:
    if isinstance(result, Exception):
        return RecordedAnswer(id, result.code if isinstance(result, ArgosyError) else "internal", ns)
    if sum(weigh(tensor.array) for tensor in result.tensors) > MOST_OF_ONE:
        return RecordedAnswer(id, "ok", ns)
    return RecordedAnswer(id, "ok", ns, tuple(_output(tensor) for tensor in result.tensors))


def _output(tensor: Tensor) -> Output:
    array = tensor.array
    data = list(array.reshape(-1).tolist()) if tensor.datatype == "BYTES" else array.tobytes()
    return Output(tensor.name, tensor.datatype, array.shape, data)
