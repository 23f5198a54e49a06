"""Ray Serve's default replica autoscaling policy, from ray python/ray/serve/autoscaling_policy.py.

Every 0.1 s, with the requests ongoing (running and queued) averaged over `look_back`, pushed every 10 s:

    desired = running · (ongoing / (target · running));  scaled = ceil(running + factor · (desired - running))
    less one where rounding alone blocks a shrink; within min and max
    acted on when it stayed above (below) the present target for more than the up (down) delay
    from zero: at once max(ceil(factor), target);  to zero only through one

`running` is of ready replicas, the present target includes those that are starting.
"""

import math

import msgspec

from argosy.capacity.policy import Decision, Observation
from argosy_simulators.baselines import toward


class State(msgspec.Struct, frozen=True, gc=False):
    """The push interval that is being filled; means of those before, newest last; how long up or down was wanted."""

    since: float | None = None
    total: float = 0.0
    count: int = 0
    pushed: tuple[float, ...] = ()
    above_at: float | None = None
    below_at: float | None = None


class RayServe(msgspec.Struct, frozen=True, kw_only=True):
    """Times in seconds. Ray's default `target` is 2 requests a replica; None takes 70 % of the slots instead."""

    target: float | None = None
    utilization: float = 0.70
    push: float = 10.0
    look_back: float = 30.0
    up_delay: float = 30.0
    down_delay: float = 600.0
    up_factor: float = 1.0
    down_factor: float = 1.0
    min: int = 1
    max: int = 1000
    interval: float = 0.1

    def begin(self) -> State:
        """Nothing pushed."""
        return State()

    def decide(self, observed: Observation, state: State) -> tuple[Decision, State]:
        """One loop of the controller."""
        state = self._measured(observed, state)
        if observed.total == 0:
            want = max(math.ceil(self.up_factor), 1) if observed.ongoing else 0
            return toward(min(max(want, self.min), self.max), observed, "from zero"), state
        want = self._wanted(observed, state)
        above = (state.above_at if state.above_at is not None else observed.now) if want > observed.total else None
        below = (state.below_at if state.below_at is not None else observed.now) if want < observed.total else None
        kept = msgspec.structs.replace(state, above_at=above, below_at=below)
        acted = msgspec.structs.replace(state, above_at=None, below_at=None)
        if above is not None and observed.now - above >= self.up_delay:
            return toward(want, observed, f"above for {self.up_delay:.0f} s"), acted
        if below is not None and observed.now - below >= self.down_delay:
            return toward(
                max(want, 1) if observed.total > 1 else want, observed, f"below for {self.down_delay:.0f} s"
            ), acted
        return Decision(reason=f"wants {want}"), kept

    def _measured(self, observed: Observation, state: State) -> State:
        since = observed.now if state.since is None else state.since
        total, count, pushed = state.total + observed.ongoing, state.count + 1, state.pushed
        if observed.now - since >= self.push - 1e-6:
            keep = max(round(self.look_back / self.push), 1)
            since, total, count, pushed = observed.now, 0.0, 0, (*pushed, total / count)[-keep:]
        return State(since, total, count, pushed, state.above_at, state.below_at)

    def _wanted(self, observed: Observation, state: State) -> int:
        if not state.pushed:
            return observed.total
        ongoing = sum(state.pushed) / len(state.pushed)
        target = self.target if self.target is not None else self.utilization * observed.concurrency
        running = max(observed.ready, 1)
        ratio = ongoing / (target * running)
        factor = self.up_factor if ratio > 1 else self.down_factor
        want = math.ceil(running + factor * (running * ratio - running))
        if math.ceil(running * ratio) < running == want:
            want -= 1
        return min(max(want, self.min), self.max)
