"""Knative's pod autoscaler (KPA), from knative/serving pkg/autoscaler/scaling and its ConfigMap.

Every 2 s, with r = max(1, ready) and the concurrency (running and waiting requests) averaged over 60 s and 6 s:

    stable = clip(ceil(avg60 / target), floor(r / 2), ceil(1000 · r))          panic = the same of avg6
    panic begins when ceil(avg6 / target) / r >= 2, ends 60 s after that was last so
    in panic the count never falls: the largest of stable and panic seen; otherwise stable
    then the maximum over the scale-down delay, then min and max

Replicas that are starting are not counted (r is of ready ones), and a backlog counts as concurrency.
"""

import math

import msgspec

from argosy.capacity.policy import Decision, Observation
from argosy_simulators.baselines import toward


class State(msgspec.Struct, frozen=True, gc=False):
    """Samples (time, concurrency) of the stable window; panic since, its maximum; idle since; wants of the delay."""

    samples: tuple[tuple[float, float], ...] = ()
    panic_at: float | None = None
    panic_most: int = 0
    idle_at: float | None = None
    wants: tuple[tuple[float, int], ...] = ()


class KPA(msgspec.Struct, frozen=True, kw_only=True):
    """`target` is `utilization` times the slots of a replica. Defaults are Knative's; times in seconds."""

    utilization: float = 0.70
    stable: float = 60.0
    panic_share: float = 0.10
    panic_threshold: float = 2.0
    max_up_rate: float = 1000.0
    max_down_rate: float = 2.0
    scale_down_delay: float = 0.0
    grace: float = 30.0
    min: int = 1
    max: int = 1000
    interval: float = 2.0

    def begin(self) -> State:
        """No samples."""
        return State()

    def decide(self, observed: Observation, state: State) -> tuple[Decision, State]:
        """One tick."""
        now = observed.now
        kept = tuple(one for one in state.samples if now - self.stable < one[0] < now)
        samples = (*kept, (now, float(observed.ongoing)))
        target = self.utilization * observed.concurrency
        ready = max(observed.ready, 1)
        down = math.floor(ready / self.max_down_rate) if observed.ready else 0
        up = math.ceil(self.max_up_rate * ready)
        raw_stable = math.ceil(_mean(samples) / target)
        raw_panic = math.ceil(_mean([one for one in samples if one[0] > now - self.stable * self.panic_share]) / target)
        stable, panic = (min(max(raw, down), up) for raw in (raw_stable, raw_panic))
        over = raw_panic / ready >= self.panic_threshold
        panic_at, most = state.panic_at, state.panic_most
        if over:
            most, panic_at = (most if panic_at is not None else 0), now
        elif panic_at is not None and now - panic_at >= self.stable:
            most, panic_at = 0, None
        most = max(most, stable, panic) if panic_at is not None else 0
        want = most if panic_at is not None else stable
        wants = (*(one for one in state.wants if now - self.scale_down_delay < one[0] < now), (now, want))
        want = max(one for _, one in wants)
        idle_at = (state.idle_at if state.idle_at is not None else now) if want == 0 else None
        if idle_at is not None and now - idle_at < self.grace and observed.total:
            want = 1
        want = min(max(want, self.min), self.max)
        reason = f"{'panic' if panic_at is not None else 'stable'}: {raw_stable} for 60 s, {raw_panic} for 6 s"
        return toward(want, observed, reason), State(samples, panic_at, most, idle_at, wants)


def _mean(samples: "tuple[tuple[float, float], ...] | list[tuple[float, float]]") -> float:
    return sum(value for _, value in samples) / len(samples)
