"""Kubernetes' horizontal pod autoscaler (HPA, autoscaling/v2 defaults) on an AverageValue metric: requests ongoing.

Every 15 s: ratio = ongoing / (target · replicas); nothing changes while |ratio - 1| <= 0.1; else the recommendation is
ceil(ongoing / target). Upwards at most +100 % or +4 replicas per 15 s, whichever is more, without stabilisation;
downwards never below the largest recommendation of the last 300 s. `replicas` counts those that are starting, but the
backlog they are to serve counts as ongoing. From zero it does not come back by itself, so min is at least 1.
"""

import math

import msgspec

from argosy.capacity.policy import Decision, Observation
from argosy_simulators.baselines import toward


class State(msgspec.Struct, frozen=True, gc=False):
    """Recommendations (time, replicas) of the stabilisation window."""

    recommended: tuple[tuple[float, int], ...] = ()


class HPA(msgspec.Struct, frozen=True, kw_only=True):
    """The target is `utilization` times the slots of a replica. Times in seconds."""

    utilization: float = 0.70
    tolerance: float = 0.10
    up_share: float = 1.0
    up_pods: int = 4
    stabilization: float = 300.0
    min: int = 1
    max: int = 1000
    interval: float = 15.0

    def begin(self) -> State:
        """No recommendations."""
        return State()

    def decide(self, observed: Observation, state: State) -> tuple[Decision, State]:
        """One sync."""
        now, current = observed.now, observed.total
        target = self.utilization * observed.concurrency
        ratio = observed.ongoing / (target * current) if current else math.inf
        advice = current if abs(ratio - 1) <= self.tolerance else math.ceil(observed.ongoing / target)
        kept = tuple(one for one in state.recommended if now - self.stabilization < one[0] < now)
        recommended = (*kept, (now, advice))
        want = advice
        if advice < current:
            want = min(current, max(one for _, one in recommended))
        ceiling = max(math.ceil(current * (1 + self.up_share)), current + self.up_pods)
        want = min(max(min(want, ceiling), self.min, 1), self.max)
        return toward(want, observed, f"ratio {ratio:.2f}, recommends {advice}"), State(recommended)
