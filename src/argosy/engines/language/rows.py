"""A language engine as an engine of rows: requests in OpenAI's form in, answers out, as many at once as it has
slots."""

import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import msgspec
import numpy as np

from argosy.engines.base import Engine
from argosy.engines.language.process import EngineServer
from argosy.spec.errors import ArgosyError, Internal, InvalidArgument, Unavailable
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import Array

AHEAD = 8
"""Rows of a call for each slot: the slots stay in use while rows of a call take different times."""
SIGNATURE = Signature(
    inputs=(TensorSpec(name="request", datatype="BYTES", shape=(-1,)),),
    outputs=(
        TensorSpec(name="answer", datatype="BYTES", shape=(-1,)),
        TensorSpec(name="finish", datatype="BYTES", shape=(-1,)),
        TensorSpec(name="prompt_tokens", datatype="INT64", shape=(-1,)),
        TensorSpec(name="completion_tokens", datatype="INT64", shape=(-1,)),
        TensorSpec(name="response", datatype="BYTES", shape=(-1,)),
    ),
)
"""`request` is a body of `/v1/chat/completions`, or of `/v1/completions` where it has a `prompt`; `response` is the
whole answer as JSON."""
Body = dict[str, Any]
Send = Callable[[str, Body], Body]


class LanguageRows(Engine):
    """Asks a running engine by `send`. What was answered beside rows that were refused is not generated again: the
    caller asks for these rows once more, without the others. `end` is called where the engine says nothing."""

    signature = SIGNATURE

    def __init__(self, send: Send, slots: int, end: Callable[[Unavailable], object]) -> None:
        self._send, self._end = send, end
        self._pool = ThreadPoolExecutor(slots, "ask")
        self._kept: dict[bytes, deque[Body]] = {}

    def predict(self, inputs: Mapping[str, Array]) -> list[Array]:
        asked: list[bytes] = inputs["request"].tolist()
        found = list(self._pool.map(self._ask, asked))
        refused = [each for each in found if isinstance(each, ArgosyError)]
        if refused:
            for request, answer in zip(asked, found, strict=True):
                if not isinstance(answer, ArgosyError):
                    self._kept.setdefault(request, deque()).append(answer)
            raise refused[0]
        return _columns([each for each in found if not isinstance(each, ArgosyError)])

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _ask(self, request: bytes) -> Body | ArgosyError:
        if kept := self._kept.get(request):
            answer = kept.popleft()
            if not kept:
                del self._kept[request]
            return answer
        try:
            body = msgspec.json.decode(request, type=Body)
            path = "/v1/completions" if "prompt" in body else "/v1/chat/completions"
            return self._send(path, body)
        except msgspec.MsgspecError as error:
            return InvalidArgument(f"the row is no request: {error}")
        except Unavailable as error:
            self._end(error)
            raise
        except ArgosyError as error:
            return error


def over(server: EngineServer) -> LanguageRows:
    """Rows for an engine that runs. Where it has ended, so does this process, in the same way: whoever started that
    starts another, and finds out which row it was."""

    def end(error: Unavailable) -> None:
        if not server.process.ended():
            return
        print(f"error: {server.reason()}", file=sys.stderr, flush=True)
        status = server.process.status or 1
        if status < 0:
            signal.signal(-status, signal.SIG_DFL)
            os.kill(os.getpid(), -status)
        os._exit(abs(status))

    return LanguageRows(server.ask.send, server.setup.language.slots, end)


def _columns(answers: Sequence[Body]) -> list[Array]:
    rows = [_row(answer) for answer in answers]
    found: list[Array] = []
    for place, spec in enumerate(SIGNATURE.outputs):
        array = np.empty(len(rows), object if spec.datatype == "BYTES" else np.int64)
        array[:] = [row[place] for row in rows]
        found.append(array)
    return found


def _row(answer: Body) -> tuple[bytes, bytes, int, int, bytes]:
    try:
        choice, usage = answer["choices"][0], cast("Body", answer.get("usage") or {})
        text = choice["message"].get("content") if "message" in choice else choice["text"]
        counts = int(usage.get("prompt_tokens", 0)), int(usage.get("completion_tokens", 0))
        finish = str(choice.get("finish_reason") or "")
        return (str(text or "").encode(), finish.encode(), *counts, msgspec.json.encode(answer))
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise Internal(f"the engine's answer has no choice: {error!r}") from None
