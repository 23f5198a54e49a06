"""A language model's engine, step by step: continuous batching, chunked prefill, a cache of blocks with LRU eviction.

The model. A step takes `base` seconds, `per_stream` more for each stream that decodes in it, and its prefill at `rate`
tokens a second; it gives each stream a token and prefills at most `budget` tokens. Prefill is first come, first served.
A request is admitted when a slot is free and the cache has room for all of its prompt and answer beside those that run
(so that nothing is preempted). What it needs of cached blocks is pinned from then to its end; other blocks are evicted,
least recently used first and of one prompt the deepest first. Blocks of a prompt are there for others once they have
been computed, those of an answer when it ends. Left out: attention that grows with the square of a prompt, and
speculative decoding.
"""

import heapq
import math
from collections import OrderedDict, deque
from collections.abc import Sequence

import msgspec

BLOCK = 128
"""Tokens in a block of the cache, and of every router's index."""


class Hardware(msgspec.Struct, frozen=True, kw_only=True):
    """Of one engine. The defaults are near what is published of Qwen3-32B on two H100 (vLLM, a budget of 8192)."""

    rate: float = 16_000.0
    base: float = 0.022
    per_stream: float = 0.0008
    budget: int = 8192
    slots: int = 256
    cache: int = 300_000

    def slower(self, factor: float) -> "Hardware":
        """Another kind of GPU."""
        return msgspec.structs.replace(
            self, rate=self.rate / factor, base=self.base * factor, per_stream=self.per_stream * factor
        )


class Request(msgspec.Struct, eq=False):
    """`blocks` are the chained hashes of the prompt's whole blocks; `answer` those of prompt and answer together."""

    number: int
    session: int
    at: float
    prompt: int
    output: int
    blocks: Sequence[int]
    answer: Sequence[int]
    replica: int = -1
    cached: int = 0
    first: float = math.inf
    ended: float = math.inf


class Cache:
    """Blocks by hash: pinned ones with their users, and free ones, the least recently used first."""

    def __init__(self, blocks: int) -> None:
        self.size = blocks
        self.pinned: dict[int, int] = {}
        self.free: OrderedDict[int, None] = OrderedDict()
        self.private = 0

    def matched(self, blocks: Sequence[int]) -> int:
        """How many blocks of the beginning are there. All before one that is there are there as well."""
        low, high = 0, len(blocks)
        while low < high:
            middle = (low + high) // 2
            here = blocks[middle] in self.pinned or blocks[middle] in self.free
            low, high = (middle + 1, high) if here else (low, middle)
        return low

    def room(self, blocks: Sequence[int], private: int) -> bool:
        """Whether these blocks can be pinned, and so many others set aside, beside all that is in use."""
        fresh = sum(1 for each in blocks if each not in self.pinned)
        return len(self.pinned) + fresh + self.private + private <= self.size

    def pin(self, blocks: Sequence[int], private: int) -> None:
        """Keep these blocks, which are there, and set others aside."""
        for each in blocks:
            self.free.pop(each, None)
            self.pinned[each] = self.pinned.get(each, 0) + 1
        self.private += private
        self._evict()

    def unpin(self, blocks: Sequence[int]) -> None:
        """Let go of blocks, which stay until their room is needed."""
        for each in reversed(blocks):
            left = self.pinned[each] - 1
            if left:
                self.pinned[each] = left
            else:
                del self.pinned[each]
                self.free[each] = None

    def _evict(self) -> None:
        while self.free and len(self.free) + len(self.pinned) + self.private > self.size:
            self.free.popitem(last=False)


class Running(msgspec.Struct, eq=False):
    """A request in a slot: blocks it has pinned, blocks set aside for it, tokens still to prefill."""

    request: Request
    pinned: Sequence[int]
    private: int
    left: int


class Engine:
    """It moves by `leap`; what happened is in `started` and `finished` until it is taken from there. `due` is when
    something happens next of its own accord, or the next step begins that may make it happen."""

    def __init__(self, hardware: Hardware) -> None:
        self.hardware = hardware
        self.cache = Cache(hardware.cache // BLOCK)
        self.waiting: deque[Request] = deque()
        self.prefilling: deque[Running] = deque()
        self.decoding: list[tuple[int, int, Running]] = []
        self.now: float = 0.0
        self.due: float = math.inf
        self.steps: int = 0
        self.prefilled = 0
        self.started: list[Request] = []
        self.finished: list[Request] = []

    def submit(self, request: Request, now: float) -> None:
        """Take a request: an idle engine begins at once, any other with the step that follows the present one."""
        if request.prompt + request.output > self.hardware.cache:
            raise ValueError("a request needs more than the whole cache")
        if not self.decoding and not self.prefilling:
            self.now = max(self.now, now)
        elif not self.prefilling and now > self.now:
            self._decode(math.ceil((now - self.now) / self._step(len(self.decoding))))
        self.waiting.append(request)
        self._plan()

    def leap(self) -> None:
        """A step with prefill in it, or all steps up to the first after which a stream ends."""
        while self._fits():
            self._admit(self.waiting.popleft())
        if self.prefilling:
            self._mixed()
        else:
            self._decode(self.decoding[0][0] - self.steps)
        self._plan()

    def _plan(self) -> None:
        if self.prefilling or self._fits():
            self.due = self.now
        elif self.decoding:
            self.due = self.now + (self.decoding[0][0] - self.steps) * self._step(len(self.decoding))
        else:
            self.due = math.inf

    def _fits(self) -> bool:
        hardware = self.hardware
        if not self.waiting or len(self.prefilling) + len(self.decoding) >= hardware.slots:
            return False
        request = self.waiting[0]
        known = self.cache.matched(request.blocks)
        return self.cache.room(request.blocks[:known], self._private(request, known))

    def _private(self, request: Request, known: int) -> int:
        return -(-(request.prompt + request.output) // BLOCK) - known

    def _admit(self, request: Request) -> None:
        known = self.cache.matched(request.blocks)
        request.cached = min(known * BLOCK, request.prompt - 1)
        private = self._private(request, known)
        self.cache.pin(request.blocks[:known], private)
        self.prefilling.append(Running(request, request.blocks[:known], private, request.prompt - request.cached))

    def _step(self, streams: int, prefill: int = 0) -> float:
        hardware = self.hardware
        return hardware.base + hardware.per_stream * streams + prefill / hardware.rate

    def _mixed(self) -> None:
        """One step with prefill in it."""
        streams = len(self.decoding)
        left = self.hardware.budget - streams
        done: list[Running] = []
        for each in self.prefilling:
            part = min(each.left, left)
            each.left -= part
            left -= part
            if each.left == 0:
                done.append(each)
            if left == 0:
                break
        prefill = self.hardware.budget - streams - left
        self.prefilled += prefill
        self.now += self._step(streams, prefill)
        self.steps += 1
        self._end()
        for each in done:
            self.prefilling.remove(each)
            self._begin(each)

    def _begin(self, running: Running) -> None:
        """The first token is there, and the blocks of the prompt can be used by others."""
        request = running.request
        request.first = self.now
        self.started.append(request)
        fresh = request.blocks[len(running.pinned) :]
        self.cache.private -= len(fresh)
        self.cache.pin(fresh, 0)
        running.pinned, running.private = request.blocks, running.private - len(fresh)
        heapq.heappush(self.decoding, (self.steps + max(request.output - 1, 1), request.number, running))

    def _decode(self, steps: int) -> None:
        """So many steps of decoding alone; fewer where a stream ends before."""
        steps = min(steps, self.decoding[0][0] - self.steps)
        self.steps += steps
        self.now += steps * self._step(len(self.decoding))
        self._end()

    def _end(self) -> None:
        while self.decoding and self.decoding[0][0] <= self.steps:
            _, _, running = heapq.heappop(self.decoding)
            request = running.request
            request.ended = self.now
            fresh = request.answer[len(running.pinned) :]
            self.cache.private -= running.private
            self.cache.pin(fresh, 0)
            self.cache.unpin(request.answer)
            self.finished.append(request)
