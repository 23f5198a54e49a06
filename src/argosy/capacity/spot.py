"""The hedge: which spot replicas to hold in which zones, and how many on demand, to have N ready at least cost. Pure.

At each look it weighs what the next interval costs against the chance that fewer than N are ready after it. What a
missing replica counts for rises while more were missing than promised, and falls while fewer were. On demand stands in
where spot is short; what is started serves from the next look on.
"""

import itertools
import math
from collections.abc import Iterator, Sequence

import msgspec

from argosy.capacity.preemption import (
    WEIGHTS,
    Features,
    Held,
    RegionHistory,
    ZoneHistory,
    chance,
    features,
    learned,
    shortage,
)


class Zone(msgspec.Struct, frozen=True, kw_only=True):
    """A market of spot capacity: its region, and its price (money an hour for one replica)."""

    name: str
    region: str
    price: float


class Hedge(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted: `replicas` ready, all but the share `short` of the time; at most `most` of them in one zone, and
    at most `extra` more than wanted. `on_demand`: the price of one replica that is always to be had.

    The rest was tuned on the first half of the trace that `prove.spot` reads: what a shortage counts for, in hours of
    all replicas on demand (`weight`), how fast that follows what was short (`gain`), the value of a spot replica that
    is still missing (`value`), the chance of a loss right after a start (`fresh`), how much rather a second replica of
    a zone is given up than the first of another (`second`), and what keeps a replica from being given up (`calm`).
    `settle`: looks for which nothing is weighed again where nothing has happened.
    """

    zones: tuple[Zone, ...]
    replicas: int
    on_demand: float
    most: int = 2
    extra: int = 3
    short: float = 0.002
    weight: float = 16.0
    gain: float = 0.15
    value: float = 0.6
    fresh: float = 0.03
    second: float = 0.02
    calm: float = 0.02
    settle: int = 4


class SpotObservation(msgspec.Struct, frozen=True, kw_only=True):
    """What is seen at a look, by zone: replicas that are `ready`, those that were `lost` since the last look, and
    whether a launch was `refused`. `on_demand`: those that are ready. `now`: seconds since 1970."""

    now: float
    ready: tuple[int, ...]
    lost: tuple[int, ...]
    refused: tuple[bool, ...]
    on_demand: int


class SpotDecision(msgspec.Struct, frozen=True, kw_only=True):
    """By zone: replicas to launch and to stop. `on_demand`: how many there are to be, from the next look on. `risk`:
    the chance that fewer than wanted are ready then; None where nothing was weighed."""

    launch: tuple[int, ...]
    stop: tuple[int, ...]
    on_demand: int
    reason: str
    risk: float | None = None


class SpotState(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered. `watched`: the features, by zone, of what was held at the last look; `missed`: looks at which
    fewer were ready than wanted; `quiet`: up to which look nothing is weighed again where nothing happens."""

    zones: tuple[ZoneHistory, ...]
    regions: dict[str, RegionHistory]
    weights: tuple[float, ...] = WEIGHTS
    watched: dict[int, Features] = {}
    tried: tuple[int, ...] = ()
    look: int = 0
    missed: int = 0
    quiet: int = 0


def begin(hedge: Hedge) -> SpotState:
    """Nothing is known."""
    regions = {zone.region: RegionHistory() for zone in hedge.zones}
    return SpotState(zones=(ZoneHistory(),) * len(hedge.zones), regions=regions)


def decide(hedge: Hedge, seen: SpotObservation, state: SpotState) -> tuple[SpotDecision, SpotState]:
    """What to launch, to stop and to have on demand."""
    hour = int(seen.now // 3600) % 24
    state = _learn(hedge, seen, state, hour)
    ready = sum(seen.ready) + seen.on_demand
    short = ready < hedge.replicas
    state = msgspec.structs.replace(state, missed=state.missed + short)
    nothing = (0,) * len(hedge.zones)
    eventful = any(seen.lost) or bool(state.tried) or seen.on_demand > 0 or short
    if not eventful and state.look < state.quiet:
        decision = SpotDecision(launch=nothing, stop=nothing, on_demand=0, reason="nothing has happened")
    else:
        decision = _weigh(hedge, seen, state, hour)
        state = msgspec.structs.replace(state, quiet=state.look + hedge.settle)
    watched = {
        place: features(state.zones[place], state.regions[zone.region], state.look, hour)
        for place, zone in enumerate(hedge.zones)
        if seen.ready[place] > decision.stop[place]
    }
    tried = tuple(place for place, count in enumerate(decision.launch) if count)
    return decision, msgspec.structs.replace(state, watched=watched, tried=tried, look=state.look + 1)


def _learn(hedge: Hedge, seen: SpotObservation, state: SpotState, hour: int) -> SpotState:
    """Take in what became of what was held and tried."""
    weights, regions, zones = state.weights, dict(state.regions), list(state.zones)
    for place, found in state.watched.items():
        lost = seen.lost[place] > 0
        weights = learned(weights, found, lost=lost)
        name = hedge.zones[place].region
        regions[name] = regions[name].counted(hour, lost=lost)
    for name in regions:
        losses = sum(lost > 0 for zone, lost in zip(hedge.zones, seen.lost, strict=True) if zone.region == name)
        regions[name] = regions[name].after(losses)
    for place, known in enumerate(zones):
        if seen.lost[place] or seen.refused[place]:
            known = known.told(state.look, up=False)
        elif seen.ready[place]:
            known = known.told(state.look, up=True)
        else:
            known = msgspec.structs.replace(known, since=None)
        if seen.lost[place] or seen.ready[place]:
            rate = 0.995 * known.rate + 0.005 * (seen.lost[place] > 0)
            known = msgspec.structs.replace(known, rate=rate)
        zones[place] = known
    return msgspec.structs.replace(state, weights=weights, regions=regions, zones=tuple(zones))


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One of what could be done: `kept` replicas by zone, zones in which one is launched `again` and `anew`, and those
    on demand."""

    kept: tuple[int, ...]
    again: tuple[int, ...]
    anew: tuple[int, ...]
    on_demand: int


def _weigh(hedge: Hedge, seen: SpotObservation, state: SpotState, hour: int) -> SpotDecision:
    """The choice that costs least."""
    zones, look = hedge.zones, state.look
    risks = [
        chance(state.weights, features(known, state.regions[zone.region], look, hour))
        for zone, known in zip(zones, state.zones, strict=True)
    ]
    starts = [known.start(look) for known in state.zones]
    surplus = (hedge.short / 2) * look - state.missed
    weight = hedge.weight * math.exp(max(-4.0, min(4.0, -hedge.gain * surplus)))
    whole = hedge.replicas * hedge.on_demand

    def chances(one: Choice) -> list[Held]:
        held = [
            Held(zones[place].region, count + (place in one.again), risks[place])
            for place, count in enumerate(one.kept)
            if count
        ]
        new = [Held(zones[at].region, 1, 1 - starts[at] * (1 - hedge.fresh), runs=False) for at in one.anew]
        return held + new

    def cost(one: Choice) -> float:
        spot = sum(zones[place].price * count for place, count in enumerate(one.kept))
        spot += sum(zones[place].price for place in one.again)
        spot += sum(zones[place].price * starts[place] for place in one.anew)
        expected = sum(one.kept) + len(one.again) + sum(starts[place] for place in one.anew)
        missing = hedge.value * max(0.0, hedge.replicas - expected) / hedge.replicas
        given_up = hedge.calm * (sum(seen.ready) - sum(one.kept))
        risk = shortage(chances(one), hedge.replicas - one.on_demand)
        return (spot + one.on_demand * hedge.on_demand) / whole + weight * risk + missing + given_up

    options = _options(hedge, seen, state, risks, starts)
    best = min(((cost(each), at, each) for at, each in enumerate(options)), key=lambda found: found[:2])[2]
    launch, stop = [0] * len(zones), [had - has for had, has in zip(seen.ready, best.kept, strict=True)]
    for place in (*best.again, *best.anew):
        launch[place] += 1
    spot = sum(zones[place].price * count for place, count in enumerate(best.kept))
    reason = (
        f"{sum(best.kept)} on spot for {spot:.2f} an hour, {sum(launch)} launched, {best.on_demand} on demand for "
        f"{best.on_demand * hedge.on_demand:.2f}; {hedge.replicas} on demand alone would cost {whole:.2f}"
    )
    risk = min(1.0, shortage(chances(best), hedge.replicas - best.on_demand))
    return SpotDecision(launch=tuple(launch), stop=tuple(stop), on_demand=best.on_demand, reason=reason, risk=risk)


def _options(
    hedge: Hedge, seen: SpotObservation, state: SpotState, risks: Sequence[float], starts: Sequence[float]
) -> Iterator[Choice]:
    """What could be done: all is kept and something launched, or some of it is given up. Never so much that fewer than
    wanted are ready now."""
    zones = range(len(hedge.zones))
    running = sorted((place for place in zones if seen.ready[place]), key=lambda place: risks[place])
    spread = sorted(
        (risks[place] + hedge.second * (nth > 0), place) for place in running for nth in range(seen.ready[place])
    )
    orders = {tuple(place for _, place in spread), tuple(place for place in running for _ in range(seen.ready[place]))}
    enough = min(hedge.replicas, sum(seen.ready) + seen.on_demand)
    anew = [place for place in zones if not seen.ready[place] and not seen.lost[place] and starts[place] > 0.08]
    anew = sorted(anew, key=lambda place: -(starts[place] - 0.3 * min(1.0, state.zones[place].rate * 20)))[:5]
    again = [place for place in running if seen.ready[place] < hedge.most][:2]
    most = hedge.replicas + hedge.extra
    for order in sorted(orders):
        for keep in range(len(order), -1, -1):
            kept = tuple(order[:keep].count(place) for place in zones)
            all_ = keep == len(order)
            more = itertools.product(range(len(anew) + 1), range(len(again) + 1)) if all_ else ((0, 0),)
            for new, second in more:
                if keep + second + sum(starts[place] for place in anew[:new]) > max(most + 0.5, keep):
                    continue
                for on_demand in range(hedge.replicas + 1):
                    if keep + min(on_demand, seen.on_demand) < enough:
                        continue
                    yield Choice(kept=kept, again=tuple(again[:second]), anew=tuple(anew[:new]), on_demand=on_demand)
                    if on_demand and keep >= hedge.replicas + 2:
                        break
