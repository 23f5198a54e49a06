"""`python -m prove.spot`: what N ready replicas cost on spot capacity, with a hedge.

Nine zones of AWS over 45 days, N = 4, at most 2 in a zone, spot at 0.3 of on demand, a start of one tick (195 s). The
hedge was tuned on the first half; the second is reported, which it begins without having seen anything, and once more
with what its own launches of the first have taught (`supply.learned`). A part of it is played through the task that
keeps groups of machines, at a cloud whose bill counts. The exit status is 1 where the hedge costs more than 0.42 of on
demand, or is short for more than 0.2 % of the ticks, or where the task comes to something else.
"""

import argparse
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import msgspec
import numpy as np

from argosy.capacity.spot import Hedge, SpotDecision, SpotObservation
from argosy.spec.offer import Offer
from argosy.spec.supply import MachineGroup, SupplySettings
from argosy.store.database import Database
from argosy.store.launches import Launches
from argosy.store.offers import HOUR, Learned
from argosy.supply import learned
from argosy.supply.commands import Commands
from argosy.supply.groups import Groups
from argosy.supply.launcher import Launcher
from argosy.supply.replay import Replay, Trace
from argosy_simulators.spot import SpotRun, SpotTrace, bound, compare, ours, read, replay, zones

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "spot_traces" / "aws-02-15-2023"
MEMORY = Path("/dev/shm")
"""Where a database is written whose safety is not at stake."""
LIVE, NEAR = 0.1, 0.01
"""The part of the second half that is played through the live task; how near to the policy it has to come."""
FLOOR, SHORT = 0.42, 0.002
HALVES = {"first half (tuned on)": (0.0, 0.5), "second half": (0.5, 1.0)}


def rows(found: list[SpotRun]) -> str:
    """As a table."""
    lines = [f"  {'policy':<20} {'cost':>6} {'short':>7} {'launched':>9} {'lost':>6}"]
    lines += [f"  {one.policy:<20} {one.cost:>6.3f} {one.short:>7.2%} {one.launches:>9} {one.lost:>6}" for one in found]
    return "\n".join(lines)


def taught(first: SpotTrace, second: SpotTrace, hedge: Hedge) -> SpotRun:
    """The second half, begun with what is written down of launches in the first."""
    rows: dict[tuple[str, int], dict[str, float]] = defaultdict(
        lambda: dict.fromkeys(("tried", "started", "lost", "held"), 0)
    )
    policy, launched = ours(hedge), (0,) * len(hedge.zones)

    def watched(seen: SpotObservation) -> SpotDecision:
        nonlocal launched
        for at, zone in enumerate(hedge.zones):
            row = rows[zone.name, int(seen.now) // HOUR * HOUR]
            row["held"] += seen.ready[at] * first.seconds
            row["lost"] += seen.lost[at]
            row["tried"] += launched[at]
            row["started"] += 0 if seen.refused[at] else launched[at]
        decision = policy(seen)
        launched = decision.launch
        return decision

    replay(first, hedge, watched, "first half")
    found = [
        Learned(provider="aws", region=zone[:-1], zone=zone, instance="v100", market="spot", hour=hour, **sums)
        for (zone, hour), sums in rows.items()
    ]
    sold = [
        Offer(provider="aws", region=each.region, zone=each.name, instance="v100", market="spot", price=each.price)
        for each in hedge.zones
    ]
    begun = msgspec.structs.replace(hedge, zones=learned.zones(sold, found))
    return replay(second, begun, ours(begun, learned.state(begun, found, second.seconds)), "hedge, taught")


def live(trace: SpotTrace, hedge: Hedge, name: str = "live task") -> SpotRun:
    """A group of machines as `argosy up` keeps it, at a cloud that is played: what the cloud bills for it. A machine
    serves one tick after its launch, and the cloud knows of capacity at each tick what the trace says."""
    begin, ticks = 86400.0, trace.up.shape[1]
    now = [begin]
    common = {"provider": "cloud", "instance": "v100", "gpu": "V100", "count": 1}
    sold = [
        Offer(**common, region=zone.region, zone=zone.name, market="spot", price=zone.price) for zone in hedge.zones
    ]
    sold.append(Offer(**common, region=hedge.zones[0].region, price=hedge.on_demand))
    capacity = {zone: (row * hedge.most).tolist() for zone, row in zip(trace.zones, trace.up, strict=True)}
    traces = {zone: Trace(seconds=trace.seconds, capacity=each) for zone, each in capacity.items()}
    group = MachineGroup(
        machines=hedge.replicas, gpu="V100", market="spot", zone=hedge.most, short=hedge.short, every=trace.seconds
    )
    cloud = Replay("cloud", sold, clock=lambda: now[0], ready=trace.seconds - 5.0, traces=traces)
    held, owned = np.zeros(ticks, dtype=np.int64), np.zeros(ticks, dtype=np.int64)
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        database = Database(Path(folder) / "launches.db")
        launcher = Launcher(Launches(database), {"cloud": cloud}, clock=lambda: now[0])
        groups = Groups(
            launcher, SupplySettings(groups={"g": group}), Commands(Path(folder) / "log"), clock=lambda: now[0]
        )
        for tick in range(ticks):
            now[0] = begin + tick * trace.seconds
            launcher.tend("cloud")
            (seen,) = groups.status()
            held[tick], owned[tick] = seen.spot, seen.on_demand
            groups.turn()
            launcher.tend("cloud")
        database.close()
    bill, end = cloud.bill(), begin + ticks * trace.seconds
    paid = sum(each.price * ((each.ended or end) - (each.started or end)) for each in bill)
    spots = [each for each in bill if each.offer.market == "spot"]
    lost = sum(bool(each.reason) for each in spots)
    cost = paid / (end - begin) / (hedge.replicas * hedge.on_demand)
    return SpotRun(name, cost, float((held + owned < hedge.replicas).mean()), len(spots), lost, held, owned)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="of each half, from its beginning")
    share = parser.parse_args(arguments).share
    trace = read(DATA)
    hedge = Hedge(zones=zones(trace, 0.3), replicas=4, on_demand=1.0)
    best = None
    for name, (begin, end) in HALVES.items():
        part = trace.part(begin, begin + (end - begin) * share)
        found = compare(part, hedge)
        best = found[0]
        print(f"{name}: {part.up.shape[1]} ticks; nobody who is never short pays less than {bound(part, hedge):.3f}")
        print(rows(found))
    assert best is not None
    first, second = (trace.part(begin, begin + (end - begin) * share) for begin, end in HALVES.values())
    print(rows([taught(first, second, hedge)]).splitlines()[1])
    part = second.part(0.0, LIVE)
    print(f"of that, the first {part.up.shape[1]} ticks, by the task that keeps a group of machines:")
    policy, task = replay(part, hedge, ours(hedge), "the policy alone"), live(part, hedge)
    print(rows([policy, task]))
    apart = abs(task.cost - policy.cost) > NEAR or abs(task.short - policy.short) > NEAR
    missed = apart or best.cost > FLOOR or best.short > SHORT
    verdict = "missed" if missed else "held"
    told = f"{best.cost:.3f} of on demand (floor {FLOOR}, goal 0.35), {best.short:.2%} short (at most {SHORT:.1%})"
    print(f"{verdict}: {told}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
