"""Copies of requests, of which a rollout in the shadow compares the answers: the gateway sends them to the process
beside the engine, of candidate and stable revision alike, and drops what is answered.

Answers that are sampled differ without being worse. So each copy is asked anew, greedily and for its first tokens only,
and its answer recorded under the request's id, as that of any other model.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from argosy.protocol.rest import Response
from argosy.serving.answers import Answers
from argosy.serving.exchange import Exchange
from argosy.spec.tensor import Tensor

SHADOW = b"x-argosy-shadow"
PATHS = ("/v1/chat/completions", "/v1/completions")
MOST = 4
"""Copies that are asked at the same time: callers come first, and further copies are refused."""
LIMITS = ("max_tokens", "max_completion_tokens")
ANEW = (*LIMITS, "stream", "stream_options", "timings_per_token", "n", "best_of", "seed", "logprobs", "top_logprobs")


def greedy(body: dict[str, Any], tokens: int) -> dict[str, Any]:
    """The request for the first tokens of its likeliest answer."""
    asked = [body[each] for each in LIMITS if isinstance(body.get(each), int)]
    rest = {name: each for name, each in body.items() if name not in ANEW}
    return {**rest, "temperature": 0, "max_tokens": min([tokens, *asked])}


def text_of(answer: dict[str, Any]) -> str:
    """What was answered: text, and which tools are called with what."""
    choice = answer["choices"][0]
    message = choice.get("message") or {"content": choice.get("text")}
    calls = [each["function"] for each in message.get("tool_calls") or ()]
    text: str = message.get("content") or ""
    return text + (msgspec.json.encode(calls).decode() if calls else "")


class Copies:
    """Takes copies and records their answers in `answers`; `send` asks the engine, from any thread."""

    def __init__(self, answers: Answers, send: Callable[[str, dict[str, Any]], dict[str, Any]]) -> None:
        self._answers, self._send = answers, send
        self._asked: set[asyncio.Task[None]] = set()

    def take(self, exchange: Exchange) -> bool:
        """Answer an exchange that is a copy at once, and see to it later; False for any other."""
        tokens = exchange.headers.get(SHADOW, b"")
        if not tokens.isdigit() or exchange.method != "POST" or exchange.path not in PATHS:
            return False
        if len(self._asked) >= MOST:
            exchange.answer(429, b"{}")
            return True
        task = asyncio.ensure_future(self._ask(exchange, int(tokens)))
        self._asked.add(task)
        task.add_done_callback(self._asked.discard)
        exchange.answer(202, b"{}")
        return True

    async def _ask(self, exchange: Exchange, tokens: int) -> None:
        id, began = exchange.headers.get(b"x-request-id", b"").decode("latin-1"), time.perf_counter_ns()
        found: Response | Exception
        try:
            body = greedy(msgspec.json.decode(exchange.body, type=dict[str, Any]), tokens)
            text = text_of(await asyncio.to_thread(self._send, exchange.path, body))
            array = np.array([text.encode()], object)
            found = Response(model_name="", model_version=None, tensors=[Tensor("text", "BYTES", array)])
        except Exception as error:  # of any kind it is an answer that differs
            found = error
        self._answers.record(id, time.perf_counter_ns() - began, found)
