"""`python -m prove.mix`: the cheapest mix of GPUs for one model, beside Mélange's rule.

Llama-2-70B on A100 and H100 in groups of 2, 4 and 8, profiles of ../shared/data, the conversation trace's sizes of
requests, at most 120 ms per token. Mélange (Griggs et al., 2024) cuts the load of each bucket into 8 slices, and puts
each on a kind of GPU such that the load of each kind fits; it has one price for each, the least on demand of the
catalogue. `same`: ours, with the same. `wide`: ours, with regions and spot, at most half of the capacity on spot, which
is taken to cost 1.35 times its price (what the hedge of `prove.spot` pays above its bound), and the first token within
4 s, round trip included. The exit status is 1 where `same` is more than 1 % dearer.
"""

import argparse
import sys

import msgspec
import numpy as np

from argosy.capacity.highs import solver
from argosy.capacity.planner.problem import Demand, Problem, Profile, Supply
from argosy.capacity.planner.whole import solve
from prove.gpus import profiles, round_trips, shares, supplies

RATES, SLICES, PER_TOKEN, FIRST = (1, 2, 4, 8, 16, 32), 8, 0.12, 4.0
FLOOR, GOAL = 0.01, -0.10
HEDGE = 1.35


def melange(kinds: list[Profile], prices: list[float], rate: float, seconds: float) -> float:
    """What Mélange's mix costs an hour: slices are assigned whole, machines are whole."""
    slices = [(f"{a}/{b}", rate * share / SLICES) for (a, b), share in shares().items() for _ in range(SLICES)]
    highs, none = solver("the proof"), np.array([], np.int32)
    count = len(slices) * len(kinds)
    most = np.array([float(name in kind.rates) for name, _ in slices for kind in kinds] + [np.inf] * len(kinds))
    costs = np.array([0.0] * count + prices)
    highs.addCols(len(costs), costs, costs * 0, most, 0, none, none, none.astype(float))
    whole = np.arange(len(costs), dtype=np.int32)
    highs.changeColsIntegrality(len(whole), whole, np.ones(len(whole), np.uint8))
    for at in range(len(slices)):
        own = np.arange(at * len(kinds), (at + 1) * len(kinds), dtype=np.int32)
        highs.addRow(1.0, 1.0, len(own), own, np.ones(len(own)))
    for number, kind in enumerate(kinds):
        own = np.append(np.arange(number, count, len(kinds)), count + number).astype(np.int32)
        loads = [each / kind.rates[name] if name in kind.rates else 0.0 for name, each in slices]
        highs.addRow(-np.inf, 0.0, len(own), own, np.array([*loads, -1.0]))
    highs.setOptionValue("time_limit", seconds)
    highs.setOptionValue("mip_rel_gap", 1e-3)
    highs.run()
    return float(highs.getInfo().objective_function_value)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0, help="for each plan")
    parser.add_argument("--rates", type=float, nargs="*", default=RATES)
    options = parser.parse_args(arguments)
    kinds, offered = profiles("llama2-70b", PER_TOKEN), supplies(64, HEDGE)
    least = {
        kind.gpu: min(
            each.price / each.count for each in offered if each.gpu == kind.gpu and each.market == "on_demand"
        )
        for kind in kinds
    }
    one = [
        Supply(id=gpu, provider="any", region="any", gpu=gpu, price=price * 8, count=8, unit="gpu", quota=100)
        for gpu, price in least.items()
    ]
    print(f"Llama-2-70B, {len(kinds)} kinds, {len(offered)} offers; $ per hour\n  {'rate':>5}{'Mélange':>10}", end="")
    print(f"{'same':>10}{'wide':>10}")
    worst, wide = 0.0, list[float]()
    for rate in options.rates:
        sizes = {f"{a}/{b}": rate * share for (a, b), share in shares().items()}
        asked = Problem(
            supplies=tuple(one),
            demands=tuple(
                Demand(model="llama2-70b", area="any", bucket=name, rate=each, penalty=1.0)
                for name, each in sizes.items()
            ),
            profiles=tuple(msgspec.structs.replace(kind, latency={}, start=0.0) for kind in kinds),
            rtt={"any": {"any": 0.0}},
        )
        areas = {"Washington DC": 0.5, "Frankfurt": 0.5}
        spread = Problem(
            supplies=tuple(each for each in offered if each.gpu in least),
            demands=tuple(
                Demand(model="llama2-70b", area=area, bucket=name, rate=each * share, slo=FIRST, penalty=1.0)
                for area, share in areas.items()
                for name, each in sizes.items()
            ),
            profiles=tuple(msgspec.structs.replace(kind, start=0.0) for kind in kinds),
            rtt=round_trips(),
            spot_share=0.5,
        )
        theirs = melange(kinds, [least[kind.gpu] * kind.gpus for kind in kinds], rate, options.seconds)
        same, far = solve(asked, seconds=options.seconds), solve(spread, seconds=options.seconds)
        assert not same.unserved
        assert not far.unserved
        assert far.costs.reserve < 1e-6
        print(f"  {rate:>5g}{theirs:>10.2f}{same.cost:>10.2f}{far.cost:>10.2f}   {same.cost / theirs - 1:+.1%} "
              f"{far.cost / theirs - 1:+.1%}")  # fmt: skip
        worst = max(worst, same.cost / theirs - 1)
        wide.append(far.cost / theirs - 1)
    missed = worst > FLOOR
    told = f"{worst:+.1%} at worst with the same (floor {FLOOR:+.0%}), {np.mean(wide):+.1%} with regions and spot"
    print(f"{'missed' if missed else 'held'}: {told} (goal {GOAL:.0%})")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
