"""What a fake engine says, counts and remembers: its options, its prefix cache, one answer."""

import asyncio
import hashlib
import json
import os
import sys
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

BLOCK = 64
"""Bytes of a block of the cache: 16 tokens."""


@dataclass(frozen=True)
class Options:
    """`tokens` of an answer, where the request does not want fewer; `delay` seconds to the first one, `each` for every
    further one, `prefill` for a thousand tokens that are not in the cache; `batch` tokens in an event. `slots` requests
    at once, others wait. `cache` tokens are held; prompts longer than `context` are refused; `load` seconds pass before
    it is ready. After `after` tokens of an answer the `fault` happens: the process dies; nothing is answered any more,
    not even /health (hang); this stream alone goes no further (stall); or status 500 instead of an answer (error).
    What is `said` stands before the words of an answer."""

    model: str = "fake"
    tokens: int = 16
    delay: float = 0.0
    each: float = 0.0
    prefill: float = 0.0
    batch: int = 1
    slots: int = 256
    cache: int = 100_000
    context: int = 1_000_000
    load: float = 0.0
    fault: Literal["", "die", "hang", "stall", "error"] = ""
    after: int = 0
    said: str = ""


class Cache:
    """Blocks of prompts, each known by all that is before it."""

    def __init__(self, tokens: int) -> None:
        self.most = tokens * 4 // BLOCK
        self._blocks: OrderedDict[bytes, None] = OrderedDict()

    def take(self, prompt: bytes) -> int:
        """How many tokens of a prompt are held; all of it are from now on."""
        chain, found, whole = b"", 0, True
        for start in range(0, len(prompt) - BLOCK + 1, BLOCK):
            chain = hashlib.blake2b(chain + prompt[start : start + BLOCK], digest_size=12).digest()
            whole = whole and chain in self._blocks
            found += whole
            self._blocks[chain] = None
            self._blocks.move_to_end(chain)
        while len(self._blocks) > self.most:
            self._blocks.popitem(last=False)
        return min(found * BLOCK // 4, max(0, tokens_of(prompt) - 1))

    @property
    def used(self) -> float:
        """Which share of it is full."""
        return len(self._blocks) / max(1, self.most)


def tokens_of(prompt: bytes) -> int:
    """Tokens of a text."""
    return max(1, (len(prompt) + 3) // 4)


class Engine:
    """What all connections share."""

    def __init__(self, options: Options) -> None:
        self.options, self.cache = options, Cache(options.cache)
        self.slots = asyncio.Semaphore(options.slots)
        self.ready_at = time.monotonic() + options.load
        self.counts = dict.fromkeys(("requests", "input", "cached", "output", "aborted", "running", "waiting"), 0)
        self.seen: deque[dict[str, Any]] = deque(maxlen=100)
        self.hung = self.draining = self.asleep = False
        self.adapters: dict[str, float] = {}

    @property
    def loading(self) -> bool:
        """Whether it is not ready yet."""
        return time.monotonic() < self.ready_at

    def metrics(self) -> str:
        """As llama.cpp names them, and as vLLM does."""
        c = self.counts
        values = {
            "llamacpp:prompt_tokens_total": c["input"] - c["cached"],
            "llamacpp:tokens_predicted_total": c["output"],
            "llamacpp:requests_processing": c["running"],
            "llamacpp:requests_deferred": c["waiting"],
            "vllm:num_requests_running": c["running"],
            "vllm:num_requests_waiting": c["waiting"],
            "vllm:kv_cache_usage_perc": self.cache.used,
            "vllm:iteration_tokens_total_count": int(100 * time.monotonic()),
            "vllm:prompt_tokens_total": c["input"],
            "vllm:generation_tokens_total": c["output"],
            "vllm:prefix_cache_queries_total": c["input"],
            "vllm:prefix_cache_hits_total": c["cached"],
        }
        return "".join(f"{name} {value}\n" for name, value in values.items())


class Generation:
    """One answer: what is counted of it, and its shapes."""

    def __init__(self, engine: Engine, path: str, body: dict[str, Any]) -> None:
        self.engine, self.body, self.chat = engine, body, path.endswith("/chat/completions")
        given = {f.name: body["fake"][f.name] for f in fields(Options) if f.name in body.get("fake", {})}
        self.options = replace(engine.options, **given)
        text = prompt_of(body, self.chat)
        self.input, self.output, self.cached = tokens_of(text), 0, engine.cache.take(text)
        asked = body.get("max_completion_tokens") or body.get("max_tokens")
        self.most = min(self.options.tokens, asked or self.options.tokens)
        self.finish = "length" if asked and asked <= self.options.tokens else "stop"
        self.id = f"{'chatcmpl' if self.chat else 'cmpl'}-{engine.counts['requests']}"

    @property
    def usage(self) -> dict[str, Any]:
        """As OpenAI has it."""
        return {
            "prompt_tokens": self.input,
            "completion_tokens": self.output,
            "total_tokens": self.input + self.output,
            "prompt_tokens_details": {"cached_tokens": self.cached},
        }

    def _top(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        model = self.body.get("model", self.options.model)
        return {"id": self.id, "object": kind, "created": int(time.time()), "model": model, "choices": choices}

    def choice(self, text: str, finish: str | None, *, streamed: bool) -> dict[str, Any]:
        """One of `choices`."""
        logprobs: dict[str, Any] | None = None
        if self.body.get("logprobs"):
            logprobs = {"content": [{"token": each, "logprob": -1.0, "top_logprobs": []} for each in text.split()]}
        shape: dict[str, Any] = {"text": text}
        if self.chat:
            shape = {"delta" if streamed else "message": {"role": "assistant", "content": text} if text else {}}
        return {"index": 0, **shape, "logprobs": logprobs, "finish_reason": finish}

    def text(self, first: int = 0) -> str:
        """What is answered from this token on."""
        words = "".join(f"{' ' if number else ''}w{number}" for number in range(first, self.output))
        return words if first else self.options.said + words

    def answer(self) -> dict[str, Any]:
        """The whole of it."""
        text = self.text()
        top = self._top(
            "chat.completion" if self.chat else "text_completion", [self.choice(text, self.finish, streamed=False)]
        )
        return top | {"usage": self.usage} | self._timings()

    def _timings(self) -> dict[str, Any]:
        counted = {"cache_n": self.cached, "prompt_n": self.input - self.cached, "predicted_n": self.output}
        return {"timings": counted}

    def event(self, text: str, finish: str | None = None, *, last: bool = False) -> bytes:
        """One server-sent event."""
        stream: dict[str, Any] = self.body.get("stream_options") or {}
        choices = [] if last else [self.choice(text, finish, streamed=True)]
        top = self._top("chat.completion.chunk" if self.chat else "text_completion", choices)
        if last or stream.get("continuous_usage_stats"):
            top["usage"] = self.usage
        if self.body.get("timings_per_token") or last:
            top |= self._timings()
        return b"data: " + json.dumps(top, separators=(",", ":")).encode() + b"\n\n"

    async def steps(self) -> AsyncIterator[int]:
        """Numbers of tokens, as they are generated; counted as soon as they are."""
        options, counts = self.options, self.engine.counts
        pause = options.delay + options.prefill * (self.input - self.cached) / 1000
        counts["waiting"] += 1
        try:
            await self.engine.slots.acquire()
        finally:
            counts["waiting"] -= 1
        counts["running"] += 1
        try:
            if pause:
                await asyncio.sleep(pause)
            counts["input"] += self.input
            counts["cached"] += self.cached
            while self.output < self.most:
                if options.fault and self.output >= options.after:
                    await self._fault(options.fault)
                if self.output and options.each:
                    await asyncio.sleep(options.each * options.batch)
                size = min(options.batch, self.most - self.output)
                self.output += size
                counts["output"] += size
                yield size
        finally:
            counts["running"] -= 1
            self.engine.slots.release()

    async def _fault(self, fault: str) -> None:
        if fault == "die":
            sys.stdout.flush()
            os._exit(13)
        if fault == "hang":
            self.engine.hung = True
        await asyncio.Event().wait()


def prompt_of(body: dict[str, Any], chat: bool) -> bytes:
    """The text that the engine sees."""
    if not chat:
        prompt = body.get("prompt", body.get("input", ""))
        return (prompt if isinstance(prompt, str) else json.dumps(prompt)).encode()
    parts = [f"<{each.get('role')}>{each.get('content')}\n" for each in body.get("messages", [])]
    return ("".join([json.dumps(body["tools"]) if body.get("tools") else "", *parts]) + "<assistant>").encode()
