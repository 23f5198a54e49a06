"""Loads: conversations made from a seed, open (they come at a rate) or closed (so many go on at any time).

The first three have the shapes that llm-d published in August 2026 for Qwen3-32B (`hardware` has its engine): code
generation, reasoning, and B2B with system prompts that many share. What was not published is assumed here: how a
prompt of code generation grows, answers of B2B (150 tokens), times between turns. `chat` is a multi-turn trace.
"""

import math
import random

import msgspec

from argosy_simulators.routing.affinity import chain
from argosy_simulators.routing.engine import BLOCK, Hardware, Request


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """`levels` are conversations at once (`closed`), or requests a second. A conversation has one of `systems` system
    prompts of `system` tokens, `opening` tokens of its own, then `turns` answers of `output` tokens with `grows` new
    ones and `pause` seconds between them. `seconds` are played, of which the first third is not counted."""

    name: str
    closed: bool
    levels: tuple[float, ...]
    systems: int
    system: int
    opening: int
    turns: int
    grows: int
    output: int
    pause: float
    seconds: float
    engines: int = 10
    hardware: Hardware = Hardware()
    prefill_bound: bool = True

    @property
    def mean_prompt(self) -> float:
        """Tokens, on the average over turns."""
        return self.system + self.opening + (self.turns - 1) / 2 * (self.grows + self.output)

    @property
    def bound(self) -> float:
        """What p90 of the time to first token may be: 2 s more than an idle engine takes without a cache."""
        return 2.0 + self.mean_prompt / self.hardware.rate


LOADS = {
    each.name: each
    for each in (
        Load(
            name="code",
            closed=True,
            levels=(10, 15, 20, 25, 30, 35, 40, 50, 60),
            systems=1,
            system=6000,
            opening=36_000,
            turns=12,
            grows=4200,
            output=800,
            pause=2.0,
            seconds=900,
        ),
        Load(
            name="b2b",
            closed=False,
            levels=(4, 8, 10, 12, 14, 16, 20, 24, 28, 32, 34, 36, 40),
            systems=150,
            system=6000,
            opening=1200,
            turns=1,
            grows=0,
            output=150,
            pause=0.0,
            seconds=180,
            engines=8,
        ),
        Load(
            name="reasoning",
            closed=True,
            levels=(50, 150, 250, 270, 290, 310, 350),
            systems=1,
            system=0,
            opening=1000,
            turns=1,
            grows=0,
            output=8000,
            pause=0.0,
            seconds=2400,
            prefill_bound=False,
        ),
        Load(
            name="chat",
            closed=False,
            levels=(2, 4, 8, 10, 12, 14, 16, 18, 22),
            systems=20,
            system=2000,
            opening=1500,
            turns=8,
            grows=1500,
            output=300,
            pause=15.0,
            seconds=420,
        ),
    )
}
"""By name."""


class Conversation:
    """One of them: what it says is told by numbers, and so are the hashes of its blocks."""

    def __init__(self, load: Load, number: int, random_: random.Random) -> None:
        self.load, self.number, self.random = load, number, random_
        self.system = random_.randrange(load.systems) if load.system else -1
        self.turns = load.turns
        self.tokens = load.system + self._about(load.opening)
        self.hashes: list[int] = []

    def _about(self, mean: float) -> int:
        """A length: log-normal, of which the median is 0.92 of the mean, and at most 3 times that."""
        return max(min(round(mean * self.random.lognormvariate(-0.08, 0.4)), round(3 * mean)), 1) if mean else 0

    def ask(self, number: int, at: float) -> Request:
        """Its next request."""
        self.turns -= 1
        prompt, output = self.tokens, max(self._about(self.load.output), 2)
        self.tokens += output
        self._extend()
        blocks, answer = self.hashes[: prompt // BLOCK], self.hashes[: self.tokens // BLOCK]
        self.tokens += self._about(self.load.grows)
        return Request(number, self.number, at, prompt, output, blocks, answer)

    def _extend(self) -> None:
        shared = self.load.system // BLOCK
        fresh = range(len(self.hashes), self.tokens // BLOCK)
        names = (hash((self.system, -1, each) if each < shared else (self.number, each)) for each in fresh)
        self.hashes += chain(names, self.hashes[-1] if self.hashes else 0)

    def pause(self) -> float:
        """Seconds from an answer to the next request."""
        return self.random.expovariate(1 / self.load.pause) if self.load.pause else 0.0


def arrivals(load: Load, level: float, random_: random.Random) -> list[float]:
    """When conversations begin: closed ones over the first seconds, open ones at random at an even rate."""
    if load.closed:
        spread = min(load.seconds / 6, 30.0)
        return sorted(random_.uniform(0, spread) for _ in range(math.ceil(level)))
    times: list[float] = []
    at = 0.0
    while (at := at + random_.expovariate(level / load.turns)) < load.seconds:
        times.append(at)
    return times
