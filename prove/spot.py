"""`python -m prove.spot`: what N ready replicas cost on spot capacity, with a hedge.

Nine zones of AWS over 45 days, N = 4, at most 2 in a zone, spot at 0.3 of on demand, a start of one tick (195 s). The
hedge was tuned on the first half; the second is reported, which it begins without having seen anything, and once more
with what its own launches of the first have taught (`supply.learned`). The exit status is 1 where it costs more than
0.42 of on demand, or is short for more than 0.2 % of the ticks.
"""

import argparse
import sys
from collections import defaultdict
from pathlib import Path

import msgspec

from argosy.capacity.spot import Hedge, SpotDecision, SpotObservation
from argosy.spec.offer import Offer
from argosy.store.offers import HOUR, Learned
from argosy.supply import learned
from argosy_simulators.spot import SpotRun, SpotTrace, bound, compare, ours, read, replay, zones

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "spot_traces" / "aws-02-15-2023"
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
    missed = best.cost > FLOOR or best.short > SHORT
    verdict = "missed" if missed else "held"
    told = f"{best.cost:.3f} of on demand (floor {FLOOR}, goal 0.35), {best.short:.2%} short (at most {SHORT:.1%})"
    print(f"{verdict}: {told}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
