"""Answers recorded for comparison: of requests that the gateway marked while a candidate runs as a shadow.

The gateway sends such a request to the stable revision and a copy to the candidate, under one `x-request-id`. Either
replica records its answer until the controller fetches it by `POST /argosy/answers`.
"""

from collections import deque

import msgspec
import numpy as np

from argosy.protocol.rest import Response
from argosy.spec.errors import code_of
from argosy.spec.tensor import NUMPY, Tensor, nbytes

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
    """The answer of one request: its `x-request-id`, `ok` or the code of its error, nanoseconds from decoded to
    answered, and its outputs; None where they have more than 1 MiB, or it failed."""

    id: str
    code: str
    ns: int
    outputs: tuple[Output, ...] | None = None

    @property
    def size(self) -> int:
        """About its bytes."""
        return 100 + sum(each.size for each in self.outputs or ())


class RecordedAnswers(msgspec.Struct, frozen=True, array_like=True):
    """The body of an answer of `POST /argosy/answers`. `dropped`: answers beyond the bounds since the last time."""

    answers: tuple[RecordedAnswer, ...] = ()
    dropped: int = 0


class Answers:
    """The answers recorded by one replica: the newest, within bounds."""

    def __init__(self) -> None:
        self._recorded: deque[RecordedAnswer] = deque()
        self._bytes = self._dropped = 0

    def record(self, id: str, ns: int, result: Response | Exception) -> None:
        """Add one; drop the oldest beyond the bounds."""
        if isinstance(result, Exception):
            answer = RecordedAnswer(id, code_of(result), ns)
        elif sum(nbytes(tensor.array) for tensor in result.tensors) > MOST_OF_ONE:
            answer = RecordedAnswer(id, "ok", ns)
        else:
            answer = RecordedAnswer(id, "ok", ns, tuple(_output(tensor) for tensor in result.tensors))
        self._recorded.append(answer)
        self._bytes += answer.size
        while len(self._recorded) > MOST or self._bytes > MOST_BYTES:
            self._bytes -= self._recorded.popleft().size
            self._dropped += 1

    def take(self) -> bytes:
        """Remove all and return them, as `RecordedAnswers` in msgpack."""
        data = msgspec.msgpack.encode(RecordedAnswers(tuple(self._recorded), self._dropped))
        self._recorded.clear()
        self._bytes = self._dropped = 0
        return data


def read(data: bytes) -> RecordedAnswers:
    """Decode what `take` returned. Raises msgspec.ValidationError."""
    return msgspec.msgpack.decode(data, type=RecordedAnswers)


def _output(tensor: Tensor) -> Output:
    array = tensor.array
    data = list(array.reshape(-1).tolist()) if tensor.datatype == "BYTES" else array.tobytes()
    return Output(tensor.name, tensor.datatype, array.shape, data)
