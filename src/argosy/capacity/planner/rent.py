"""What has to be rented for the replicas of a plan: whole machines, and GPUs that are cut into slices. Pure."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping

from argosy.capacity.highs import IntegerProgram
from argosy.capacity.planner.problem import Placement, Problem, Rented, Supply
from argosy.capacity.slices import ways

NEED = "Planning placements"


def rent(problem: Problem, replicas: Mapping[Placement, int]) -> dict[str, Rented]:
    """By supply, the least of it that has room for all."""
    profiles = {(each.model, each.variant, each.gpu): each for each in problem.profiles}
    supplies = {each.id: each for each in problem.supplies}
    whole, stands = Counter[str](), defaultdict[str, float](float)
    slices = defaultdict[str, Counter[str]](Counter)
    for (model, variant, name), count in replicas.items():
        supply = supplies[name]
        profile = profiles[model, variant, supply.gpu]
        stands[name] += count * supply.price * profile.part(supply)
        if profile.slice:
            slices[name][profile.slice] += count
        else:
            whole[name] += count * profile.takes(supply)
    return {name: _rented(supplies[name], whole[name], slices[name], paid) for name, paid in stands.items()}


def _rented(supply: Supply, whole: int, slices: Counter[str], stands: float) -> Rented:
    cuts = cut(supply.gpu, slices)
    count = math.ceil((whole + sum(count for _, count in cuts)) / supply.rented)
    hourly = count * supply.price * supply.rented / supply.count
    return Rented(count=count, hourly=hourly, unused=max(0.0, hourly - stands), cuts=cuts)


def cut(gpu: str, slices: Mapping[str, int]) -> tuple[tuple[tuple[str, ...], int], ...]:
    """The fewest GPUs that give so many of each slice, by how they are cut. By the ways to cut one: the cutting stock
    problem (Gilmore and Gomory 1961)."""
    names = tuple(sorted(name for name, count in slices.items() if count))
    if not names:
        return ()
    able, rows = ways(gpu, names), IntegerProgram(NEED)
    columns = [rows.column(1.0, whole=True) for _ in able]
    for nth, name in enumerate(names):
        rows.row(float(slices[name]), math.inf, [(at, float(way[nth])) for at, way in zip(columns, able, strict=True)])
    counts, _ = rows.solve(10.0, 0.0)
    return tuple(
        (tuple(name for name, n in zip(names, way, strict=True) for _ in range(n)), round(count))
        for way, count in zip(able, counts, strict=True)
        if count > 0.5
    )
