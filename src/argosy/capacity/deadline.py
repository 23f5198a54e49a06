"""Work with a deadline, on spot capacity: when to run where, when to wait, and when to pay for on demand. Pure.

What is left of the work and of the time is a grid; on it the expected cost of running on, waiting and changing over is
calculated backwards, for capacity that comes and goes with rates that depend on how long it has been there or away.
The rates below are a beginning; each market's factor on them is learned from what is seen of it. Whatever is expected,
the job changes to on demand while that still meets the deadline, even if all work of the next interval were lost.
"""

import functools
import itertools
import math

import msgspec
import numpy as np
import numpy.typing as npt

from argosy.capacity.spot import Zone

AGES = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Hours from which a rate holds."""
RETURNS = (1.09, 1.51, 0.46, 0.34, 0.27, 0.26, 0.12)
LOSSES = (1.21, 1.42, 0.68, 0.37, 0.22, 0.14, 0.07)
"""How often an hour capacity comes back, and is lost: of the first half of the trace that `prove.deadline` reads."""
CONFIDENCE = 3.0
"""Events that these count for."""
STEP = math.log(1.4)
"""Factors are told apart by this much."""
CELLS = 96
LATE = 20.0
"""What an hour of work that is missing at the deadline counts for, in hours on demand."""
WAIT, DEMAND, SPOT = range(3)
OLD = 4
"""The age, among `AGES`, that another market's capacity has where it takes over."""

Table = npt.NDArray[np.int8]
Floats = npt.NDArray[np.float64]


class DeadlineJob(msgspec.Struct, frozen=True, kw_only=True):
    """`work` seconds, to be done `deadline` seconds after the begin. A start anywhere takes `changeover` seconds before
    the work goes on. `tick`: seconds between two looks. `on_demand`: the price an hour of what is always to be had."""

    markets: tuple[Zone, ...]
    work: float
    deadline: float
    changeover: float
    tick: float
    on_demand: float


class DeadlineObservation(msgspec.Struct, frozen=True, kw_only=True):
    """What is seen at a look: seconds since the begin and of work that is `done`, where it runs (a place among the
    markets, -1 on demand, None), what is left of its changeover, and which markets have capacity."""

    elapsed: float
    done: float
    running: int | None
    left: float
    up: tuple[bool, ...]


class DeadlineDecision(msgspec.Struct, frozen=True, kw_only=True):
    """Where to run until the next look: a place among the markets, -1 on demand, None nowhere."""

    run: int | None
    reason: str


class MarketHistory(msgspec.Struct, frozen=True, kw_only=True):
    """Of one market, or of all together: whether there was capacity, for how many hours, and what is learned of the
    rate of changes of each kind: those that were `seen` and those that `RETURNS` and `LOSSES` lead to expect."""

    up: bool | None = None
    age: float = 0.0
    seen: tuple[float, float] = (CONFIDENCE, CONFIDENCE)
    expected: tuple[float, float] = (CONFIDENCE, CONFIDENCE)

    def after(self, up: bool, hours: float) -> "MarketHistory":
        """One look later."""
        if self.up is None:
            return msgspec.structs.replace(self, up=up)
        kind, changed = int(self.up), up != self.up
        seen, expected = list(self.seen), list(self.expected)
        expected[kind] += (LOSSES if self.up else RETURNS)[_bin(self.age)] * hours
        seen[kind] += changed
        age = 0.0 if changed else self.age + hours
        return MarketHistory(up=up, age=age, seen=(seen[0], seen[1]), expected=(expected[0], expected[1]))

    def factor(self, kind: int) -> int:
        """ln of the factor on the rates, in steps."""
        return round(math.log(self.seen[kind] / self.expected[kind]) / STEP)


class DeadlineState(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered: of each market, of all of them, and how many of `losses` left another one with capacity."""

    markets: tuple[MarketHistory, ...]
    any: MarketHistory = MarketHistory()
    losses: float = 1.0
    replaced: float = 0.0


def begin(job: DeadlineJob) -> DeadlineState:
    """Nothing is known."""
    return DeadlineState(markets=(MarketHistory(),) * len(job.markets), replaced=0.5 if len(job.markets) > 1 else 0.0)


def decide(job: DeadlineJob, seen: DeadlineObservation, state: DeadlineState) -> tuple[DeadlineDecision, DeadlineState]:
    """Where to run until the next look."""
    state = _learn(job, seen, state)
    running = seen.running
    if running is not None and running >= 0 and not seen.up[running]:
        running = None
    left = seen.left if running is not None else 0.0
    slack = (job.deadline - seen.elapsed) - (job.work - seen.done)
    tight, told = slack - left < job.changeover + job.tick, f"{slack / 3600:.1f} hours of slack"
    if tight and running != -1:
        return DeadlineDecision(run=-1, reason=f"on demand: {told}, and another loss might miss the deadline"), state
    best = running if running is not None and running >= 0 else _market(job, seen, state)
    known = state.any if best is None else state.markets[best]
    price = job.markets[0 if best is None else best].price / job.on_demand
    hours = [each / 3600 for each in (job.work, job.deadline, job.changeover)]
    table, cell = _table(state.any.factor(0), known.factor(1), _replaced(state), *hours, round(price, 2))
    mode = WAIT if running is None else DEMAND if running == -1 else SPOT
    place = _bin(known.age) + (len(AGES) if best is not None else 0)
    time = min(int((job.deadline - seen.elapsed) / 3600 / cell), table.shape[0] - 1)
    work = min(math.ceil((job.work - seen.done + left) / 3600 / cell), table.shape[3] - 1)
    action = int(table[time, place, mode, work])
    if action == DEMAND or (running == -1 and tight):
        return DeadlineDecision(run=-1, reason=f"on demand: {told} are better kept"), state
    if action == SPOT and best is not None:
        price = f"{job.markets[best].price:.2f} an hour, {job.on_demand:.2f} on demand"
        return DeadlineDecision(run=best, reason=f"{job.markets[best].name} for {price}"), state
    return DeadlineDecision(run=None, reason=f"waits for spot: {told}"), state


def _learn(job: DeadlineJob, seen: DeadlineObservation, state: DeadlineState) -> DeadlineState:
    hours, some = job.tick / 3600, any(seen.up)
    lost = sum(bool(known.up) and not up for known, up in zip(state.markets, seen.up, strict=True))
    return DeadlineState(
        markets=tuple(known.after(up, hours) for known, up in zip(state.markets, seen.up, strict=True)),
        any=state.any.after(some, hours),
        losses=state.losses + lost,
        replaced=state.replaced + lost * some,
    )


def _replaced(state: DeadlineState) -> float:
    """The chance that another market takes over, in halvings of what is missing to 1."""
    missing = 1 - state.replaced / state.losses
    return 1 - 0.5 ** round(-math.log2(max(missing, 1 / 64)))


def _market(job: DeadlineJob, seen: DeadlineObservation, state: DeadlineState) -> int | None:
    """The one with capacity that costs least, a changeover at each loss included."""

    def cost(place: int) -> float:
        known = state.markets[place]
        rate = LOSSES[_bin(known.age)] * math.exp(STEP * known.factor(1))
        return job.markets[place].price + rate * job.changeover / 3600 * job.on_demand

    return min((place for place, up in enumerate(seen.up) if up), key=cost, default=None)


def _bin(hours: float) -> int:
    return sum(hours >= age for age in AGES) - 1


def _chain(returns: int, losses: int, replaced: float, cell: float) -> tuple[Floats, Floats]:
    """What becomes of capacity in a cell of time, from (away, by age; there, by age) to the same; and the share of it
    that is there without having been lost."""
    ages, wide = len(AGES), [later - age for age, later in itertools.pairwise(AGES)]
    moves, stays = np.zeros((2 * ages, 2 * ages)), np.zeros((2 * ages, 2 * ages))
    for there, rates, factor in ((0, RETURNS, returns), (1, LOSSES, losses)):
        for age in range(ages):
            at = there * ages + age
            keeps = math.exp(-rates[age] * math.exp(STEP * factor) * cell)
            older = keeps * min(1.0, cell / wide[age]) if age < ages - 1 else 0.0
            stays[at, at] += keeps - older
            if older:
                stays[at, at + 1] += older
            if there:
                moves[at, 0] += (1 - keeps) * (1 - replaced)
                moves[at, ages + OLD] += (1 - keeps) * replaced
            else:
                moves[at, ages] += 1 - keeps
    return moves, stays


@functools.lru_cache(maxsize=64)
def _table(
    returns: int, losses: int, replaced: float, work: float, deadline: float, changeover: float, price: float
) -> tuple[Table, float]:
    """What to do, by cells of time left, age of capacity, what is done now, and cells of work left; a cell in hours."""
    cell = max(work, deadline / 2) / CELLS
    times, works = math.ceil(deadline / cell), math.ceil((work + changeover) / cell) + 1
    moves, stays = _chain(returns, losses, replaced, cell)
    ages, chain = len(AGES), moves + stays
    value = np.broadcast_to(LATE * cell * np.arange(works + 1), (2 * ages, 3, works + 1)).copy()
    found = np.full((times + 1, 2 * ages, 3, works + 1), DEMAND, np.int8)
    begun = np.arange(works + 1) + changeover / cell
    low = np.minimum(begun.astype(int), works)
    high, part, over = np.minimum(low + 1, works), begun - begun.astype(int), np.maximum(begun - works, 0) * cell

    def started(running: Floats, price: float) -> Floats:
        """A changeover is work more, paid as such."""
        after = running[:, low] * (1 - part) + running[:, high] * part + over * price
        after[:, 0] = 0.0
        return after

    for left in range(1, times + 1):
        wait = chain @ value[:, WAIT]
        demand, spot = np.zeros_like(wait), np.full_like(wait, math.inf)
        demand[:, 1:] = cell + (chain @ value[:, DEMAND])[:, :-1]
        spot[ages:, 1:] = price * cell + (stays @ value[:, SPOT] + moves @ value[:, WAIT])[ages:, :-1]
        spot[ages:, 0] = 0.0
        new_demand, new_spot = started(demand, 1.0), np.full_like(wait, math.inf)
        new_spot[ages:] = started(spot[ages:], price)
        for mode, choice in (
            (WAIT, (wait, new_demand, new_spot)),
            (DEMAND, (wait, demand, new_spot)),
            (SPOT, (wait, new_demand, spot)),
        ):
            costs = np.stack(choice)
            found[left, :, mode] = costs.argmin(axis=0)
            value[:, mode] = costs.min(axis=0)
        value[:, :, 0] = 0.0
    return found, cell
