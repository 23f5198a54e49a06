"""Spot capacity, replayed: what a policy pays for N ready replicas, and how often it has fewer.

A trace says at each tick in which zones capacity is to be had. Where it is not, what runs there is lost, and launches
are refused, which costs nothing. What is launched is paid from that tick on, and ready at the next.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from argosy.capacity.spot import Hedge, SpotDecision, SpotObservation, SpotState, Zone, begin, decide
from argosy.spec.errors import InvalidArgument

Ticks = npt.NDArray[np.bool_]
Policy = Callable[[SpotObservation], SpotDecision]


class _File(msgspec.Struct):
    metadata: dict[str, float]
    data: list[int]


class SpotTrace(msgspec.Struct, frozen=True, eq=False):
    """Availability by zone and tick of `seconds`."""

    zones: tuple[str, ...]
    seconds: float
    up: Ticks

    def part(self, begin: float, end: float) -> "SpotTrace":
        """A stretch of it, by shares of its length."""
        ticks = self.up.shape[1]
        return msgspec.structs.replace(self, up=self.up[:, round(begin * ticks) : round(end * ticks)])


def read(folder: Path) -> SpotTrace:
    """The traces of a folder: `ZONE_*.json`, each {"metadata": {"gap_seconds": 195}, "data": [0, 1, …]}. Raises
    InvalidArgument."""
    paths = sorted(folder.glob("*.json")) if folder.is_dir() else []
    if not paths:
        raise InvalidArgument(f"there are no traces in {folder}: a folder of ZONE_*.json")
    try:
        files = [msgspec.json.decode(path.read_bytes(), type=_File) for path in paths]
        gaps = {each.metadata["gap_seconds"] for each in files}
    except (msgspec.DecodeError, KeyError) as error:
        raise InvalidArgument(f"a trace in {folder} is not read: {error}") from None
    if not all(0 < gap < float("inf") for gap in gaps):
        raise InvalidArgument(f"a trace in {folder} has gap_seconds of {min(gaps):g}: they must be above 0")
    if len(gaps) != 1 or len({len(each.data) for each in files}) != 1:
        raise InvalidArgument(
            f"the traces in {folder} differ in their ticks: each needs the same gap_seconds and length"
        )
    if bad := next((path.name for path, each in zip(paths, files, strict=True) if min(each.data, default=0) < 0), None):
        raise InvalidArgument(f"{bad} in {folder}: a tick has the number of machines to be had, 0 or more")
    up = np.array([each.data for each in files]) > 0
    return SpotTrace(tuple(path.stem.partition("_")[0] for path in paths), gaps.pop(), up)


def zones(trace: SpotTrace, price: float) -> tuple[Zone, ...]:
    """Its zones, all at one price. The region is the zone's name but for the letter at its end."""
    return tuple(Zone(name=name, region=name[:-1], price=price) for name in trace.zones)


class SpotRun(msgspec.Struct, frozen=True, eq=False):
    """What a policy came to. `cost`: as a share of N on demand all the time; `short`: the share of ticks with fewer
    than N ready; `launches`, `lost`: replicas. `held`, `on_demand`: those that were ready, at each tick."""

    policy: str
    cost: float
    short: float
    launches: int
    lost: int
    held: npt.NDArray[np.int64]
    on_demand: npt.NDArray[np.int64]


def replay(trace: SpotTrace, hedge: Hedge, policy: Policy, name: str) -> SpotRun:
    """A policy on a trace."""
    places = range(len(trace.zones))
    held, starting = [0] * len(places), [0] * len(places)
    demand = soon = launches = gone = 0
    refused = (False,) * len(places)
    paid, ready, bought = 0.0, list[int](), list[int]()
    for tick, up in enumerate(trace.up.T.tolist()):
        lost = tuple(0 if up[at] else held[at] + starting[at] for at in places)
        held = [held[at] + starting[at] if up[at] else 0 for at in places]
        demand = soon
        seen = SpotObservation(
            now=tick * trace.seconds, ready=tuple(held), lost=lost, refused=refused, on_demand=demand
        )
        done = policy(seen)
        held = [held[at] - done.stop[at] for at in places]
        wanted = [min(done.launch[at], hedge.most - held[at]) for at in places]
        refused = tuple(wanted[at] > 0 and not up[at] for at in places)
        starting = [wanted[at] if up[at] else 0 for at in places]
        demand, soon = min(demand, done.on_demand), done.on_demand
        paid += sum(hedge.zones[at].price * (held[at] + starting[at]) for at in places)
        paid += hedge.on_demand * max(demand, soon)
        launches, gone = launches + sum(starting), gone + sum(lost)
        ready.append(sum(held))
        bought.append(demand)
    spot, owned = np.array(ready), np.array(bought)
    short = float((spot + owned < hedge.replicas).mean())
    cost = paid / (hedge.replicas * hedge.on_demand * len(ready))
    return SpotRun(name, cost, short, launches, gone, spot, owned)


def bound(trace: SpotTrace, hedge: Hedge) -> float:
    """What nobody can undercut who is never short: at each tick spot where it was up now and before, up to the most a
    zone may have, on demand for the rest; nothing is paid for starts."""
    there = (trace.up[:, 1:] & trace.up[:, :-1]).sum(axis=0)
    spot = np.minimum(hedge.replicas, hedge.most * there)
    price = min(zone.price for zone in hedge.zones)
    return float((price * spot + hedge.on_demand * (hedge.replicas - spot)).mean() / hedge.replicas / hedge.on_demand)


def ours(hedge: Hedge, state: SpotState | None = None) -> Policy:
    """The hedge, with what it remembers; it begins with `state`, or with nothing."""
    known = begin(hedge) if state is None else state

    def policy(seen: SpotObservation) -> SpotDecision:
        nonlocal known
        decision, known = decide(hedge, seen, known)
        return decision

    return policy


def fallback(hedge: Hedge, extra: int) -> Policy:
    """SkyServe's: N + extra on spot, on demand for what of N is not ready on spot; a zone that took one back is left
    until fewer than two others remain. Source: SkyPilot, `sky/serve/{autoscalers,spot_placer}.py`."""
    active = set(range(len(hedge.zones)))

    def policy(seen: SpotObservation) -> SpotDecision:
        nonlocal active
        places = range(len(hedge.zones))
        active -= {at for at in places if seen.lost[at] or seen.refused[at]}
        if len(active) < 2:
            active = set(places)
        missing = hedge.replicas + extra - sum(seen.ready)
        launch = [0] * len(places)
        for at in sorted(active, key=lambda at: (seen.ready[at] > 0, hedge.zones[at].price, at)):
            room = min(missing, hedge.most - seen.ready[at], 1 if len(active) > missing else hedge.most)
            if room > 0:
                launch[at], missing = room, missing - room
        wanted = max(0, hedge.replicas - sum(seen.ready))
        return SpotDecision(launch=tuple(launch), stop=(0,) * len(places), on_demand=wanted, reason="")

    return policy


def one_zone(hedge: Hedge, place: int) -> Policy:
    """All replicas in one zone, on demand where it has none."""

    def policy(seen: SpotObservation) -> SpotDecision:
        launch = [0] * len(hedge.zones)
        launch[place] = hedge.replicas - seen.ready[place]
        missing = hedge.replicas - seen.ready[place]
        return SpotDecision(launch=tuple(launch), stop=(0,) * len(hedge.zones), on_demand=missing, reason="")

    return policy


def compare(trace: SpotTrace, hedge: Hedge, extras: Sequence[int] = (0, 1, 2)) -> list[SpotRun]:
    """The hedge beside what others do, each from nothing."""
    found = [replay(trace, hedge, ours(hedge), "argosy")]
    found += [replay(trace, hedge, fallback(hedge, extra), f"skyserve, {extra} extra") for extra in extras]
    best = int(trace.up.mean(axis=1).argmax())
    alone = msgspec.structs.replace(hedge, most=hedge.replicas)
    return [*found, replay(trace, alone, one_zone(alone, best), f"{trace.zones[best]} alone")]
