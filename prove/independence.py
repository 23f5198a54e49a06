"""`python -m prove.independence`: how much of the GPU-hours can lie outside the three hyperscalers.

Two models, areas on three continents, the sizes of requests of the conversation trace, at most 120 ms per token and the
first token within 4 s. Supply is what ../shared/data has, on demand, at most `--quota` GPUs of one kind of machine in
one place. `hyperscalers`: the cheapest plan on those alone, with the same rules: what is left when a region is lost
serves all. `all`: over all providers, where what is left when any one provider is lost serves all, in its time; that is
checked by losing each in turn. The exit status is 1 where less than half of the GPU-hours lies outside, where that is
dearer, or where a loss leaves a request unserved.
"""

import argparse
import sys
from collections import Counter

import msgspec

from argosy.capacity.planner.problem import Demand, Plan, Problem
from argosy.capacity.planner.whole import solve
from prove.gpus import HYPERSCALERS, profiles, round_trips, shares, supplies

MODELS = {"llama2-70b": 12.0, "bloom-176b": 2.0}
"""Requests per second."""
AREAS = {"Washington DC": 0.4, "Frankfurt": 0.35, "Tokyo": 0.25}
PER_TOKEN, FIRST = 0.12, 4.0
FLOOR, GOAL = 0.5, 0.8


def lost(problem: Problem, plan: Plan, provider: str, seconds: float) -> float:
    """The share of the demand that what is left of a plan cannot serve."""
    left = tuple(each for each in problem.supplies if each.provider != provider)
    ids = {each.id for each in left}
    running = {place: count for place, count in plan.replicas.items() if place[2] in ids}
    rest = msgspec.structs.replace(problem, supplies=left, running=running, loss_floor=0.0)
    found = solve(rest, seconds=seconds, keep=True, goal="unserved")
    return sum(found.unserved.values()) / sum(each.rate for each in problem.demands)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=40.0, help="for each plan")
    parser.add_argument("--scale", type=float, default=5.0, help="of the demand")
    parser.add_argument("--quota", type=int, default=16)
    options = parser.parse_args(arguments)
    kinds = [msgspec.structs.replace(each, start=0.0) for model in MODELS for each in profiles(model, PER_TOKEN)]
    used = {each.gpu for each in kinds}
    offered = [each for each in supplies(options.quota) if each.gpu in used and each.market == "on_demand"]
    everywhere = Problem(
        supplies=tuple(offered),
        demands=tuple(
            Demand(
                model=model,
                area=area,
                bucket=f"{a}/{b}",
                rate=options.scale * rate * part * share,
                slo=FIRST,
                penalty=1.0,
            )
            for model, rate in MODELS.items()
            for area, part in AREAS.items()
            for (a, b), share in shares().items()
        ),
        profiles=tuple(kinds),
        rtt=round_trips(),
        loss_floor=1.0,
    )
    own = tuple(
        msgspec.structs.replace(each, domain="", quota=each.quota * 8)
        for each in offered
        if each.provider in HYPERSCALERS
    )
    few = solve(msgspec.structs.replace(everywhere, supplies=own), seconds=options.seconds)
    wide = solve(everywhere, seconds=options.seconds)
    by_id = {each.id: each for each in offered}
    gpus = {(each.model, each.variant, each.gpu): each.gpus for each in kinds}
    hours = Counter[str]()
    for (model, variant, supply), count in wide.replicas.items():
        hours[by_id[supply].provider] += count * gpus[model, variant, by_id[supply].gpu]
    print(f"{len(offered)} offers of {len({each.provider for each in offered})} providers; $ per hour")
    for name, plan in (("hyperscalers", few), ("all", wide)):
        print(f"  {name:<14}{plan.costs.machines:>9.2f}  unserved {sum(plan.unserved.values()):.2g}/s, reserve lacks "
              f"{plan.costs.reserve:.2g}, gap {plan.gap:.1%}")  # fmt: skip
    worst = 0.0
    for provider, count in hours.most_common():
        share = lost(everywhere, wide, provider, options.seconds)
        worst = max(worst, share)
        print(
            f"  {provider:<14}{count:>4} GPUs {count / hours.total():>6.1%}; lost: {share:.2%} of the demand unserved"
        )
    outside = 1 - sum(hours[each] for each in HYPERSCALERS) / hours.total()
    dearer = wide.costs.machines / few.costs.machines - 1
    served = not few.unserved and not wide.unserved and few.costs.reserve < 1e-3 and wide.costs.reserve < 1e-3
    missed = outside < FLOOR or dearer > 0 or worst > 1e-3 or not served
    told = f"{outside:.0%} outside (floor {FLOOR:.0%}, goal {GOAL:.0%}), {dearer:+.0%} in cost"
    print(f"{'missed' if missed else 'held'}: {told}, {worst:.2%} unserved where any one provider is lost")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
