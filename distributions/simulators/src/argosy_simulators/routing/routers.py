"""Routers: ours, and others' as they are, with their own defaults. Sources: their code and documentation.

A router hears of a request when it comes, of its first token and of its end, and sees nothing of the engines.
"""

import bisect
import random
from collections.abc import Callable, Mapping

from argosy_simulators.routing.affinity import Affinity, PrefixIndex, Ticket
from argosy_simulators.routing.engine import BLOCK, Hardware, Request


class Router:
    """What all of them count: the requests in flight."""

    def __init__(self, hardware: list[Hardware], seed: int) -> None:
        self.count = len(hardware)
        self.in_flight = [0] * self.count
        self.random = random.Random(seed)

    def route(self, request: Request, now: float) -> int:
        """Where it goes."""
        chosen = self.pick(request, now)
        self.in_flight[chosen] += 1
        return chosen

    def pick(self, request: Request, now: float) -> int:
        """Where it would go best."""
        raise NotImplementedError

    def started(self, request: Request, now: float) -> None:
        """Its first token has come."""

    def ended(self, request: Request, now: float) -> None:
        """Its last token has come."""
        self.in_flight[request.replica] -= 1

    def least(self) -> int:
        """The one with the fewest requests; of equal ones any."""
        low = min(self.in_flight)
        return self.random.choice([at for at, each in enumerate(self.in_flight) if each == low])


class RoundRobin(Router):
    """One after the other, as a Service of Kubernetes does."""

    turn = 0

    def pick(self, request: Request, now: float) -> int:
        """The next."""
        self.turn += 1
        return self.turn % self.count


class LeastRequest(Router):
    """The one with the fewest requests of all (Envoy: `least_request`, FULL_SCAN)."""

    def pick(self, request: Request, now: float) -> int:
        """The least loaded."""
        return self.least()


class BoundedHash(Router):
    """Consistent hashing with bounded loads of a prompt's beginning (KubeAI, Envoy's ring hash with a balance factor):
    the first on the ring with at most 1.25 times the mean number of requests."""

    FACTOR, POINTS, PREFIX = 1.25, 256, 16

    def __init__(self, hardware: list[Hardware], seed: int) -> None:
        super().__init__(hardware, seed)
        self.ring = sorted((hash((point, at)), at) for at in range(self.count) for point in range(self.POINTS))

    def pick(self, request: Request, now: float) -> int:
        """On from where the beginning hashes to."""
        key = request.blocks[min(self.PREFIX, len(request.blocks)) - 1] if request.blocks else request.session
        most = self.FACTOR * (sum(self.in_flight) + 1) / self.count
        begin = bisect.bisect(self.ring, (hash((key, 1)), 0))
        for step in range(len(self.ring)):
            _, at = self.ring[(begin + step) % len(self.ring)]
            if self.in_flight[at] + 1 <= max(most, 1):
                return at
        return self.least()


class Indexed(Router):
    """A router that remembers which prompts it sent where."""

    BLOCKS = 2**17

    def __init__(self, hardware: list[Hardware], seed: int) -> None:
        super().__init__(hardware, seed)
        self.indexes = [PrefixIndex(self.BLOCKS) for _ in range(self.count)]

    def matched(self, request: Request) -> list[float]:
        """The share of the prompt that each has seen."""
        whole = max(len(request.blocks), 1)
        return [index.matched(request.blocks) / whole for index in self.indexes]

    def route(self, request: Request, now: float) -> int:
        """Where it goes, which is remembered."""
        chosen = super().route(request, now)
        self.indexes[chosen].insert(request.blocks, now)
        return chosen


class CacheAware(Indexed):
    """SGLang's `cache_aware`: the shortest queue where loads differ much in the whole fleet (by more than 64 and 1.5
    times), else the one with the longest match above 0.3, else the least loaded; of equal ones the first."""

    ABSOLUTE, RELATIVE, THRESHOLD = 64, 1.5, 0.3

    def pick(self, request: Request, now: float) -> int:
        """By match, unless the fleet is out of balance."""
        high, low = max(self.in_flight), min(self.in_flight)
        if not (high - low > self.ABSOLUTE and high > self.RELATIVE * low):
            matched = self.matched(request)
            best = max(range(self.count), key=matched.__getitem__)
            if matched[best] > self.THRESHOLD:
                return best
        return min(range(self.count), key=self.in_flight.__getitem__)


class LoadAware(Indexed):
    """production-stack's `loadaware`: match - (load - mean) / max(1, mean), the highest."""

    def pick(self, request: Request, now: float) -> int:
        """The highest score; of equal ones any."""
        mean = sum(self.in_flight) / self.count
        scores = [
            share - (load - mean) / max(1.0, mean)
            for share, load in zip(self.matched(request), self.in_flight, strict=True)
        ]
        best = max(scores)
        return self.random.choice([at for at, each in enumerate(scores) if each == best])


class Sticky(Router):
    """Ours: sticky until saturated, with what it learns of the engines; it is told the size of their caches."""

    def __init__(self, hardware: list[Hardware], seed: int) -> None:
        super().__init__(hardware, seed)
        self.policy = Affinity(seed)
        self.policy.keep({str(at): each.cache // BLOCK for at, each in enumerate(hardware)})
        self.tickets: dict[int, Ticket] = {}

    def pick(self, request: Request, now: float) -> int:
        """By affinity and the prefill in flight."""
        ticket = self.policy.route(request.blocks, request.prompt, self.policy.replicas, now)
        self.tickets[request.number] = ticket
        return int(ticket.replica)

    def started(self, request: Request, now: float) -> None:
        """Its prefill is in flight no longer."""
        self.policy.first(self.tickets[request.number], now)

    def ended(self, request: Request, now: float) -> None:
        """Its stream is in flight no longer."""
        super().ended(request, now)
        self.policy.end(self.tickets.pop(request.number), now)


ROUTERS: Mapping[str, Callable[[list[Hardware], int], Router]] = {
    "round-robin": RoundRobin,
    "least-request": LeastRequest,
    "bounded-hash": BoundedHash,
    "cache-aware": CacheAware,
    "loadaware": LoadAware,
    "argosy": Sticky,
}
"""By name."""
