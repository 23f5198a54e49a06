"""Autoscaling where starts are fast or slow, over regions, on spot, and in a pool: tables of `prove.autoscale`.

Settings are chosen on the first half of a trace (and of the market), the second half is reported, as everywhere there.
"""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import msgspec
import numpy as np

from argosy.capacity.autoscale import Autoscale
from argosy.capacity.policy import Policy
from argosy.capacity.spot import Hedge, SpotDecision, SpotObservation, SpotState, begin, decide
from argosy.spec.scaling import MOST, Scaling
from argosy_simulators import spot
from argosy_simulators.baselines.kpa import KPA
from argosy_simulators.clairvoyant import Clairvoyant, clairvoyant
from argosy_simulators.elastic import Elastic, Played, Spot, play
from argosy_simulators.score import LATE
from argosy_simulators.simulate import Setup, simulate
from argosy_simulators.spot import SpotTrace
from argosy_simulators.trace import Floats, Trace
from prove.choices import grid, setting
from prove.spot import DATA as MARKET

ON_AT, STEP, ALLOWED = 300.0, 10.0, 0.01
REGIONS, SPIKE, ROUND = 3, 0.6, 900.0
"""Regions, the share of the requests that come to the one whose turn it is, and seconds until all had theirs."""
WINDOWS, DAY, PRICE, NOTICE = 10, 443, 0.3, 120.0
GOAL, POOLED = 1.10, 2.0
FLOORS = {180.0: 1.10, 26.0: 1.20, 3.0: 1.25}
"""By cold start: the most times the clairvoyant's replica-hours that still holds, in one pool."""
SPOT_FLOORS = {180.0: 1.30, 26.0: 1.30, 3.0: 1.40}

OURS, ONE, SPOT = "argosy, one region", "argosy, the same, scaled as one", "argosy, the same, on spot"
LARGER, COPIES = "argosy, 4 regions with the whole trace each, scaled as one", 4


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the table: what was paid, in hours of a replica on demand, beside the clairvoyant's."""

    cold: float
    how: str
    hours: float
    bound: float
    late: float
    away: float = 0.0
    setting: str = ""

    @property
    def ratio(self) -> float:
        return self.hours / self.bound


def every(cold: float) -> float:
    """Seconds between two decisions: a fast start is worth looking often."""
    return 5.0 if cold > 60 else 1.0


def settings(cold: float) -> dict[str, list[Policy[Any]]]:
    """What is tried."""
    slow = cold > 60
    ours = grid(
        confidence=(0.5, 0.75),
        window=(240.0 if slow else 120.0,),
        patience=(120.0, 180.0) if slow else (10.0, 20.0, 60.0),
        target=(0.9,) if slow else (0.9, 0.99),
    )
    theirs = grid(utilization=(0.8, 0.9, 0.95), stable=(60.0, 300.0), scale_down_delay=(0.0, 300.0))
    return {
        "argosy": [Autoscale(Scaling(max=MOST, **one), every(cold), thrift) for one in ours for thrift in (2.0, 4.0)],
        "kpa": [KPA(**one) for one in theirs],
    }


def split(trace: Trace) -> list[Trace]:
    """The trace over regions, of which each in its turn has a spike."""
    random = np.random.default_rng(1)
    turn = (trace.arrivals // (ROUND / REGIONS)).astype(int) % REGIONS
    other = (turn + random.integers(1, REGIONS, len(turn))) % REGIONS
    where = np.where(random.random(len(turn)) < SPIKE, turn, other)
    return [Trace(f"{at}", trace.arrivals[where == at], trace.services[where == at]) for at in range(REGIONS)]


def chosen(
    traces: Sequence[Trace], policies: Sequence[Policy[Any]], setup: Setup, end: float, how: Elastic
) -> Policy[Any]:
    """The cheapest on the first half, the second cut off, that is late for half of what is allowed; else the least
    late."""
    cut = [Trace(one.name, one.arrivals[one.arrivals <= end], one.services[one.arrivals <= end]) for one in traces]

    def worth(policy: Policy[Any]) -> tuple[float, float]:
        played = play(cut, policy, setup, how)
        return max(played.late(ON_AT, end), ALLOWED / 2), played.hours(ON_AT, end)

    return min(policies, key=worth)


class Tuned(msgspec.Struct, frozen=True, eq=False):
    """The policy for a cold start, tuned in one pool."""

    setup: Setup
    policy: Policy[Any]
    bound: Clairvoyant


def rows(conv: Trace, cold: float) -> list[Row]:
    """One pool; three regions: each alone, answering for each other, scaled as one; the same on spot."""
    half, setup = conv.end / 2, Setup(cold_start=cold, initial=10, on_at=ON_AT)
    bound = clairvoyant(conv, setup, begin=half, step=STEP)
    policy = chosen(split(conv), settings(cold)["argosy"], setup, half, Elastic(one=True))
    one = Tuned(setup, policy, bound)
    return [*placed(conv, one), sold(conv, one)]


def placed(conv: Trace, one: Tuned) -> list[Row]:
    """On demand, in one region or several."""
    half, end, cold = conv.end / 2, conv.end, one.setup.cold_start
    parts = split(conv)
    ours, theirs = (chosen([conv], policies, one.setup, half, Elastic()) for policies in settings(cold).values())
    several = [
        (OURS, [conv], ours, Elastic()),
        ("kpa, one region", [conv], theirs, Elastic()),
        ("argosy, 3 regions, each alone", parts, ours, Elastic(together=False)),
        ("argosy, 3 regions that answer for each other", parts, ours, Elastic()),
        (ONE, parts, one.policy, Elastic(one=True)),
    ]
    found: list[Row] = []
    for how, traces, policy, elastic in several:
        played = play(traces, policy, one.setup, elastic)
        found.append(
            Row(
                cold=cold,
                how=how,
                hours=played.hours(half, end),
                bound=one.bound.replica_hours,
                late=played.late(half, end),
                away=played.away(half, end),
                setting=setting(policy) if policy is not ours or traces is not parts else "",
            )
        )
    return found


def larger(conv: Trace, cold: float) -> Row:
    """Four regions, each with the whole trace, a quarter of it later than the one before, scaled as one."""
    at = [np.argsort((conv.arrivals + turn * conv.end / COPIES) % conv.end, kind="stable") for turn in range(COPIES)]
    parts = [
        Trace(f"{turn}", (conv.arrivals[order] + turn * conv.end / COPIES) % conv.end, conv.services[order])
        for turn, order in enumerate(at)
    ]
    setup, half, end = Setup(cold_start=cold, initial=7 * COPIES, on_at=ON_AT), conv.end / 2, conv.end
    policies = [
        Autoscale(Scaling(max=MOST, confidence=0.5, window=240.0, target=0.99, patience=patience), every(cold))
        for patience in (10.0, 20.0, 60.0, 180.0)
    ]
    policy = chosen(parts, policies, setup, half, Elastic(one=True))
    whole = merged(merged(parts[0], parts[1])[0], merged(parts[2], parts[3])[0])[0]
    bound = clairvoyant(whole, setup, begin=half, end=end, step=3 * STEP).replica_hours
    played = play(parts, policy, setup, Elastic(one=True))
    figures = {"hours": played.hours(half, end), "late": played.late(half, end), "away": played.away(half, end)}
    return Row(cold=cold, how=LARGER, bound=bound, setting=setting(policy), **figures)


class Window(msgspec.Struct, frozen=True, eq=False):
    """A part of the market in which the trace is played, and what the hedge had learned until then."""

    market: SpotTrace
    begin: int
    state: SpotState


def windows(market: SpotTrace, count: int) -> list[Window]:
    """So many, evenly over the market; a hedge for six replicas runs for about a day before each."""
    hedge = Hedge(zones=spot.zones(market, PRICE), replicas=6, on_demand=1.0)
    found: list[Window] = []
    for at in range(count):
        mark = round((at + 0.5) * market.up.shape[1] / count)
        known = begin(hedge)

        def policy(seen: SpotObservation) -> SpotDecision:
            nonlocal known
            decision, known = decide(hedge, seen, known)
            return decision

        before = msgspec.structs.replace(market, up=market.up[:, max(mark - DAY, 0) : mark])
        spot.replay(before, hedge, policy, "hedge")
        found.append(Window(market, mark, known))
    return found


def on_spot(traces: Sequence[Trace], policy: Policy[Any], setup: Setup, one: Window, hedge: Hedge) -> Played:
    """The trace in a window of the market."""
    regions = sorted({zone.region for zone in hedge.zones})
    places = tuple(regions.index(zone.region) for zone in hedge.zones)
    sold = Spot(trace=one.market, begin=one.begin, places=places, hedge=hedge, state=one.state, notice=NOTICE)
    return play(traces, policy, setup, Elastic(one=True, spot=sold))


def least(plan: Clairvoyant, one: Window, hedge: Hedge, end: float, cold: float) -> float:
    """What the clairvoyant's plan costs where all that runs on spot may, and starts are at its price."""
    paid = cold * PRICE * float(np.maximum(np.diff(plan.plan), 0).sum())
    for step, count in enumerate(plan.plan.tolist()):
        at = plan.begin + step * plan.step
        tick = one.begin + int(at // one.market.seconds)
        there = hedge.most * int((one.market.up[:, tick] & one.market.up[:, tick - 1]).sum())
        cheap = min(count, there)
        paid += min(plan.step, end - at) * (PRICE * cheap + count - cheap)
    return paid / 3600


def sold(conv: Trace, one: Tuned) -> Row:
    """Three regions scaled as one, on spot of their zones; the hedge is tuned in the first half of the market."""
    whole = spot.read(MARKET)
    parts, half, end = split(conv), conv.end / 2, conv.end
    first, second = windows(whole.part(0, 0.5), WINDOWS // 2), windows(whole.part(0.5, 1), WINDOWS)

    def figures(hedge: Hedge, places: Sequence[Window], since: float, until: float) -> tuple[float, float]:
        runs = [on_spot(parts, one.policy, one.setup, each, hedge) for each in places]
        means = np.mean([(run.late(since, until), run.hours(since, until)) for run in runs], axis=0)
        return float(means[0]), float(means[1])

    def worth(hedge: Hedge) -> tuple[float, float]:
        late, hours = figures(hedge, first, ON_AT, half)
        return max(late, ALLOWED), hours

    plain = Hedge(zones=spot.zones(whole, PRICE), replicas=6, on_demand=1.0)
    careless = ({"extra": extra, "weight": weight} for extra, weight in ((1, 4.0), (1, 1.0), (0, 0.25), (0, 0.02)))
    hedge = min([plain, *(msgspec.structs.replace(plain, short=ALLOWED, **each) for each in careless)], key=worth)
    late, hours = figures(hedge, second, half, end)
    bound = float(np.mean([least(one.bound, each, hedge, end, one.setup.cold_start) for each in second]))
    told = f"hedge: short {hedge.short:g}, extra {hedge.extra}, weight {hedge.weight:g}"
    return Row(cold=one.setup.cold_start, how=SPOT, hours=hours, bound=bound, late=late, setting=told)


class Pooled(msgspec.Struct, frozen=True, kw_only=True):
    """What a pool costs more for the code trace, beside what its clairvoyant pays for it alone; who was late in it."""

    name: str
    hours: float
    without: float
    bound: float
    late: float
    rest: float
    setting: str

    @property
    def ratio(self) -> float:
        return (self.hours - self.without) / self.bound


def merged(one: Trace, other: Trace) -> tuple[Trace, "np.ndarray[Any, np.dtype[np.bool_]]"]:
    """Both in one, and which of its requests are the other's."""
    arrivals: Floats = np.concatenate((one.arrivals, other.arrivals))
    order = np.argsort(arrivals, kind="stable")
    services = np.concatenate((one.services, other.services))[order]
    return Trace(f"{one.name} + {other.name}", arrivals[order], services), order >= len(one.arrivals)


def pooled(base: Trace, code: Trace) -> Pooled:
    """The code trace in one pool with another: their endpoints share the slots of the same machines."""
    both, theirs = merged(base, code)
    busy = math.ceil(float(base.services.sum()) / base.end / Setup().concurrency)
    setup, half = Setup(initial=busy * 2, on_at=ON_AT), base.end / 2
    bound = clairvoyant(code, Setup(on_at=ON_AT), begin=code.end / 2, step=STEP).replica_hours
    policies = [
        Autoscale(Scaling(max=MOST, **one))
        for least in (1, *range(busy + 3, busy + 8))
        for one in grid(min=(least,), late=(0.01, 0.001), confidence=(0.5, 0.75), window=(240.0,), patience=(180.0,))
    ]

    def figures(
        trace: Trace, mine: "np.ndarray[Any, np.dtype[np.bool_]]", since: float, until: float, policy: Policy[Any]
    ) -> tuple[float, float, float]:
        """Late of the one and of the rest, and hours."""
        upto = trace.arrivals <= until
        run = simulate(Trace(trace.name, trace.arrivals[upto], trace.services[upto]), policy, setup)
        late, inside, mine = run.waits > LATE, trace.arrivals[upto] >= since, mine[upto]
        paid = sum(max(min(one.ended, until) - max(one.asked, since), 0.0) for one in run.replicas) / 3600
        shares = [float(late[inside & who].mean()) if (inside & who).any() else 0.0 for who in (mine, ~mine)]
        return shares[0], shares[1], paid

    def worth(trace: Trace, mine: "np.ndarray[Any, np.dtype[np.bool_]]", policy: Policy[Any]) -> tuple[float, float]:
        one, rest, hours = figures(trace, mine, ON_AT, half, policy)
        return max(one, rest, ALLOWED / 2), hours

    nobody = np.zeros(len(base.arrivals), dtype=np.bool_)
    alone = min(policies, key=partial(worth, base, nobody))
    policy = min(policies, key=partial(worth, both, theirs))
    late, rest, hours = figures(both, theirs, half, base.end, policy)
    without = figures(base, nobody, half, base.end, alone)[2]
    return Pooled(
        name=both.name, hours=hours, without=without, bound=bound, late=late, rest=rest, setting=setting(policy)
    )


def report(lines: Sequence[Row], pools: Sequence[Pooled]) -> Iterator[str]:
    """The tables, in Markdown."""
    yield "**conv**, second half, over cold starts, regions and markets:\n"
    yield "| cold start | how | hours | x clairvoyant | over 2 s | elsewhere | setting |"
    yield "| ---: | --- | ---: | ---: | ---: | ---: | --- |"
    for one in sorted(lines, key=lambda row: -row.cold):
        away = "" if one.how == SPOT else f"{one.away:.0%}"
        figures = f"{one.hours:.2f} | {one.ratio:.2f} | {one.late:.2%} | {away}"
        yield f"| {one.cold:.0f} s | {one.how} | {figures} | {one.setting} |"
    yield "\n**code**, second half, in a pool with others, 180 s cold start:\n"
    yield "| pool | hours | without code | more, x clairvoyant of code alone | code over 2 s | others | setting |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | --- |"
    for one in pools:
        figures = f"{one.hours:.2f} | {one.without:.2f} | {one.ratio:.2f} | {one.late:.2%} | {one.rest:.2%}"
        yield f"| {one.name} | {figures} | {one.setting} |"
    yield ""


def verdicts(lines: Sequence[Row], pools: Sequence[Pooled]) -> Iterator[tuple[bool, str]]:
    """Whether floors hold, and by how much."""
    for one in lines:
        if one.how in (OURS, ONE, SPOT, LARGER):
            floor = SPOT_FLOORS[one.cold] if one.how == SPOT else FLOORS[one.cold]
            goal = "goal met" if one.ratio <= GOAL and one.late <= ALLOWED else f"goal {GOAL:.2f} missed"
            text = f"conv, {one.cold:.0f} s, {one.how}: {one.ratio:.2f} x the clairvoyant, {one.late:.2%} late; {goal}."
            yield one.ratio <= floor and one.late <= ALLOWED, text
    for one in pools:
        met = one.ratio <= POOLED and one.late <= ALLOWED and one.rest <= ALLOWED
        text = f"{one.name}: code costs {one.ratio:.2f} x its clairvoyant, {one.late:.2%} of it late, {one.rest:.2%} of"
        yield met, f"{text} the others; goal {'met' if met else 'missed'}."
