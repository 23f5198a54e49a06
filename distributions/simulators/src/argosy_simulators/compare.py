"""Policies side by side on one trace, against the clairvoyant."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from argosy.capacity.autoscale import Autoscale
from argosy.capacity.policy import Policy
from argosy.spec.scaling import MOST, Scaling
from argosy_simulators.baselines.hpa import HPA
from argosy_simulators.baselines.kpa import KPA
from argosy_simulators.baselines.ray import RayServe
from argosy_simulators.baselines.static import Static
from argosy_simulators.clairvoyant import Clairvoyant, clairvoyant, offered
from argosy_simulators.score import Score, score
from argosy_simulators.simulate import Run, Setup, simulate
from argosy_simulators.trace import Trace

DEFAULTS: dict[str, Callable[[], Policy[Any]]] = {
    "argosy": lambda: Autoscale(Scaling(max=MOST)),
    "kpa": KPA,
    "hpa": HPA,
    "ray": RayServe,
}
"""Policies by name, with their own defaults; the baselines aim at 70 % of the slots."""

STEPS = (60, 100)
"""Numbers of steps in which the clairvoyant may plan a stretch; the cheapest plan counts."""


class Line(msgspec.Struct, frozen=True, eq=False):
    """One policy: its score, and its replica-hours over those of the clairvoyant's plan and over the work alone."""

    policy: str
    score: Score
    ratio: float
    work_ratio: float
    run: Run


class Comparison(msgspec.Struct, frozen=True, eq=False):
    """What was compared on which stretch of a trace."""

    trace: Trace
    setup: Setup
    begin: float
    end: float
    bound: Clairvoyant
    lines: list[Line]


def static_peak(trace: Trace, setup: Setup) -> Static:
    """So many replicas that nobody ever waits: the most that a fixed number can be asked to be."""
    _, running = offered(trace.arrivals, trace.services)
    return Static(max(math.ceil(float(running.max()) / setup.concurrency), 1))


def compare(
    trace: Trace, policies: Mapping[str, Policy[Any]], setup: Setup, begin: float = 0.0, end: float | None = None
) -> Comparison:
    """Run every policy over the whole trace; count from `begin` to `end`. A static one begins with its own number."""
    end = trace.end if end is None else end
    steps = [max((end - begin) / count, 1.0) for count in STEPS]
    bounds = [clairvoyant(trace, setup, begin=begin, end=end, step=step) for step in steps]
    bound = min(bounds, key=lambda one: one.replica_hours)
    lines: list[Line] = []
    for name, policy in policies.items():
        own = msgspec.structs.replace(setup, initial=policy.replicas) if isinstance(policy, Static) else setup
        run = simulate(trace, policy, own)
        figures = score(trace, run, begin, end)
        hours = figures.replica_hours
        lines.append(Line(name, figures, _over(hours, bound.replica_hours), _over(hours, bound.work_hours), run))
    return Comparison(trace, setup, begin, end, bound, lines)


def _over(hours: float, least: float) -> float:
    return hours / least if least > 0 else math.inf
