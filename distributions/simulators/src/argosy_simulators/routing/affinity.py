"""Which replica of a language model takes a request: "sticky until saturated". Pure: no clock, no I/O.

A prompt is a chain of blocks, each of whose hashes names all before it as well (`chain`). `PrefixIndex` guesses what
the cache of a replica holds from what it was sent. `pick` decides, from `Candidate`s alone. `Affinity` is the state:
indexes, the ledger of what is in flight, and what was learned. Amounts are of any one unit, tokens or bytes.
`gateway/lua/affinity.lua` decides in the gateway; tests hold it to this.
"""

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

import msgspec

WARM = 0.8
"""A replica is warm for a prompt if it has this share of what the one that has most of it has."""
PATIENCE = 4.0
"""How long a request waits for a warm replica, in times of what it costs to compute the prefix in another one."""
CHANCE = 2.0
"""A replica takes nothing more while it has more streams than its share by so many standard deviations of chance."""
RECENT = 64
"""Of each replica, so many prefills say how fast it is."""
HIGH = 0.9
"""Which of their rates counts: the one when nothing else held the replica up."""
FORGET = 0.05
"""The weight of a new measurement in a moving mean."""


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """A replica that takes requests. `affinity`: the share of the prompt it has; `prefill`: the amount that it was
    sent, has not cached, and has not answered, of `waiting` requests, the first since `since` seconds; `rate`: the
    amount a second it prefills; `streams`: requests in flight; `churn`: how likely what it evicts is needed again;
    `held`: blocks in its cache."""

    affinity: float
    prefill: float
    waiting: int
    since: float
    rate: float
    streams: int
    churn: float
    held: int = 0

    def wait(self) -> float:
        """Seconds of prefill in front of a new request."""
        return max(self.prefill / self.rate, self.since)

    def again(self, amount: float) -> float:
        """Seconds that all lose, those that wait as well, where it computes what another replica has."""
        return PATIENCE * amount / self.rate * (1 + self.waiting)

    def alone(self, size: float) -> float:
        """Seconds that a prompt of `size` takes: its prefill, and that of what is evicted for it and needed again."""
        return size * (1 - self.affinity) / self.rate * (1 + self.churn)


def pick(candidates: Mapping[str, Candidate], size: float, random_: random.Random) -> str:
    """One of those that are warm; of all where the others would be free so much sooner that it pays to compute the
    prefix again. Of these the one that answers first. Those that do so later by less than the prompt itself takes are
    as good: of them one with the fewest streams, then the emptiest cache, then any."""
    candidates = _within(candidates)
    best = max(each.affinity for each in candidates.values())
    these = {name: each for name, each in candidates.items() if each.affinity >= WARM * best}
    cold = [each for name, each in candidates.items() if name not in these]
    wait = min(each.wait() for each in these.values())
    if any(each.wait() + each.again((best - each.affinity) * size) < wait for each in cold):
        these = candidates
    firsts = {name: each.wait() + each.alone(size) for name, each in these.items()}
    soonest = min(firsts, key=firsts.__getitem__)
    late = firsts[soonest] + these[soonest].alone(size)
    good = [name for name, first in firsts.items() if first <= late]
    ranks = {name: (these[name].streams, these[name].held) for name in good}
    fewest = min(ranks.values())
    return random_.choice([name for name in good if ranks[name] == fewest])


def _within(candidates: Mapping[str, Candidate]) -> Mapping[str, Candidate]:
    """Those that do not have more streams than chance would give them. A fast one has as many as a slow one: it has
    each of them for a shorter time."""
    fair = sum(each.streams for each in candidates.values()) / len(candidates)
    most = fair + CHANCE * math.sqrt(fair)
    return {name: each for name, each in candidates.items() if each.streams <= most}


def chain(blocks: Iterable[int], seed: int = 0) -> list[int]:
    """Hashes of the blocks, of which equal ones mean equal prompts up to there."""
    found: list[int] = []
    for block in blocks:
        seed = hash((seed, block))
        found.append(seed)
    return found


class PrefixIndex:
    """What one replica's cache may hold: the last `capacity` blocks, of which the deeper ones of a chain go first. So
    a block is there only if all before it are."""

    def __init__(self, capacity: int) -> None:
        self.capacity = max(capacity, 1)
        self.blocks: dict[int, float] = {}

    def matched(self, hashes: Sequence[int]) -> int:
        """How many blocks of the beginning are there."""
        low, high = 0, len(hashes)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if hashes[middle] in self.blocks else (low, middle)
        return low

    def age(self, now: float) -> float:
        """How long the block that goes next has not been used; infinite while there is room."""
        return now - next(iter(self.blocks.values())) if len(self.blocks) >= self.capacity else math.inf

    def insert(self, hashes: Sequence[int], now: float) -> None:
        """As the most recent; of a longer chain its beginning."""
        for block in reversed(hashes[: self.capacity]):
            self.blocks.pop(block, None)
            self.blocks[block] = now
        for block in list(islice(self.blocks, max(len(self.blocks) - self.capacity, 0))):
            del self.blocks[block]


class Known(msgspec.Struct, eq=False):
    """What is known of one replica."""

    index: PrefixIndex
    prefill: float = 0.0
    waiting: dict[int, float] = {}
    streams: int = 0
    rates: list[float] = []
    rate: float | None = None


class Ticket(msgspec.Struct, eq=False):
    """A request in flight: what it was charged, to be released at its first chunk, and its stream, at its end."""

    replica: str
    known: Known
    affinity: float
    charge: float
    began: float
    alone: bool
    answered: float | None = None
    ended: bool = False


class Affinity:
    """The policy with its state, which is bounded by the replicas' caches and what is in flight."""

    def __init__(self, seed: int = 0) -> None:
        self.replicas: dict[str, Known] = {}
        self.random = random.Random(seed)
        self.gap = 0.0

    def keep(self, capacities: Mapping[str, int]) -> None:
        """Replica → blocks in its cache. Others are forgotten: one that comes back under its name begins anew."""
        self.replicas = {
            name: self.replicas.get(name) or Known(PrefixIndex(capacity)) for name, capacity in capacities.items()
        }

    def route(self, hashes: Sequence[int], size: float, names: Iterable[str], now: float) -> Ticket:
        """Send a prompt to one of the replicas `names`: those that are ready and healthy. It is charged at once."""
        ready = {name: self.replicas[name] for name in names if name in self.replicas}
        if not ready:
            raise LookupError("no replica takes requests")
        usual = [each.rate for each in ready.values() if each.rate is not None]
        rate = sum(usual) / len(usual) if usual else 1.0
        candidates = {name: self._candidate(each, hashes, rate, now) for name, each in ready.items()}
        chosen = pick(candidates, size, self.random)
        known, affinity = ready[chosen], candidates[chosen].affinity
        ticket = Ticket(chosen, known, affinity, size * (1 - affinity), now, not known.waiting)
        known.prefill += ticket.charge
        known.waiting[id(ticket)] = now
        known.streams += 1
        if affinity:
            used = known.index.blocks[hashes[known.index.matched(hashes) - 1]]
            self.gap += FORGET * (now - used - self.gap)
        known.index.insert(hashes, now)
        return ticket

    def _candidate(self, known: Known, hashes: Sequence[int], rate: float, now: float) -> Candidate:
        affinity = known.index.matched(hashes) / len(hashes) if hashes else 0.0
        since = now - next(iter(known.waiting.values()), now)
        age = known.index.age(now)
        churn = min(self.gap / age, 1.0) if age > 0 else 1.0
        return Candidate(
            affinity,
            known.prefill,
            len(known.waiting),
            since,
            known.rate or rate,
            known.streams,
            churn,
            len(known.index.blocks),
        )

    def first(self, ticket: Ticket, now: float) -> None:
        """The first chunk of the answer has come: the prefill is done, and says how fast it was."""
        if ticket.answered is not None or ticket.ended:
            return
        _release(ticket)
        ticket.answered = now
        if ticket.alone and ticket.charge > 0 and now > ticket.began:
            known = ticket.known
            known.rates = [*known.rates[1 - RECENT :], ticket.charge / (now - ticket.began)]
            known.rate = sorted(known.rates)[int(HIGH * (len(known.rates) - 1))]

    def end(self, ticket: Ticket, now: float) -> None:
        """The request has ended, in whichever way. A second time is nothing."""
        if ticket.ended:
            return
        ticket.ended, known = True, ticket.known
        if ticket.answered is None:
            _release(ticket)
        known.streams -= 1


def _release(ticket: Ticket) -> None:
    """Give back what was charged. Nothing in flight is 0, whatever the sums of fractions say."""
    known = ticket.known
    del known.waiting[id(ticket)]
    known.prefill = max(known.prefill - ticket.charge, 0.0) if known.waiting else 0.0
