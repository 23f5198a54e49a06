"""The autoscaling policy: replicas for the load one cold start ahead. Pure: no clock, no I/O.

1. `load.py` follows the load that is offered, so that a backlog is not taken for load.
2. `forecast.py` says what it may be when a replica that is asked for now becomes ready.
3. `staffing.py` turns that into slots, so that at most `late` of the requests wait longer than `wait`: once the queue
   is at rest, and, the more a cold start is shorter than a request, until the next replica can be there.
4. Requests that were late are counted. While fewer were than may be, the next replica waits a little longer; once more
   were, `late` and the doubt that `confidence` leaves shrink in proportion: the forecast was too sure of itself.
5. A backlog that will still be there then gets slots to clear it within one more cold start.

Replicas that are starting count in full. More are started at once; ready ones are stopped only after fewer were enough
for `patience`, never while that would leave less than is needed without the loading ones; loading ones never.
"""

import math

import msgspec

from argosy.capacity.forecast import Forecast, predict
from argosy.capacity.load import Load, elapsed, follow, seconds
from argosy.capacity.policy import Decision, Observation
from argosy.capacity.staffing import slots_for, slots_soon
from argosy.spec.scaling import Scaling

SOONEST = 1.0
"""Seconds in which a backlog is to be cleared where replicas start faster than that."""
EVIDENCE = 0.3
"""Late requests that must have been allowed before the unspent share counts for much."""
SUREST = 0.999
SLACK = 0.01
"""Replicas by which a need may exceed a whole number before it is rounded up."""


class ScalerState(msgspec.Struct, frozen=True, gc=False):
    """The course of the load; `age` in seconds; requests `late` of those `served`, older ones counting less.

    `quiet`: seconds without a request; `low_for`: seconds for which fewer replicas were enough; `enough`: how many.
    """

    load: Load = Load()
    age: float = 0.0
    late: float = 0.0
    served: float = 0.0
    quiet: float = 0.0
    low_for: float = 0.0
    enough: int = 0


class Need(msgspec.Struct, frozen=True, gc=False):
    """Replicas that are needed, and why."""

    replicas: int
    reason: str


class Autoscale(msgspec.Struct, frozen=True):
    """The policy with its declaration. `interval`: seconds between two decisions.

    `thrift`: how far an unspent share of late requests is spent when that can save a replica; 0 never.
    """

    scaling: Scaling = Scaling()
    interval: float = 5.0
    thrift: float = 4.0

    def begin(self) -> ScalerState:
        """Nothing observed yet."""
        return ScalerState()

    def decide(self, observed: Observation, state: ScalerState) -> tuple[Decision, ScalerState]:
        """Start replicas, let ready ones go, or hold; always with the reason."""
        gap = elapsed(observed, state.load)
        load = follow(observed, state.load, self.scaling.history)
        quiet = 0.0 if observed.arrivals > 0 or observed.ongoing > 0 else state.quiet + gap
        state = msgspec.structs.replace(spent(observed, state, gap, self.scaling), load=load, quiet=quiet)
        ease = leeway(state, self.scaling, self.thrift)
        need = bounded(needed(observed, state, self.scaling, ease), observed, state, self.scaling)
        return settle(observed, state, need, gap, self.scaling)


def needed(observed: Observation, state: ScalerState, scaling: Scaling, ease: float) -> Need:
    """Replicas for the load one cold start ahead and for the backlog there will be; `ease` is the leeway. No bounds."""
    service, cold = seconds(observed.service_time), seconds(observed.cold_start)
    confidence = min(1 - (1 - scaling.confidence) * min(ease, 1.0), SUREST)
    forecast = predict(state.load, horizon=cold, window=scaling.window, confidence=confidence, service_time=service)
    slots = slots_for(forecast.high, service, scaling.wait, scaling.late * ease, forecast.peakedness)
    extra = backlog_slots(observed, forecast, service, cold)
    if left := math.exp(-cold / service) if service else 0.0:
        soon = slots_soon(
            observed.ongoing, forecast.high, service, cold, scaling.wait, scaling.late * ease, forecast.peakedness
        )
        slots, extra = left * soon + (1 - left) * slots, (1 - left) * extra
    slots = max(slots, forecast.high / scaling.target)
    replicas = math.ceil((slots + extra) / max(observed.concurrency, 1) - SLACK)
    reason = f"load {forecast.now:.1f}, one cold start ahead up to {forecast.high:.1f}, needs {slots:.1f} slots"
    if extra >= 0.05:
        reason += f" and {extra:.1f} for the backlog"
    return Need(max(replicas, 0), reason)


def spent(observed: Observation, state: ScalerState, gap: float, scaling: Scaling) -> ScalerState:
    """Count the requests that came, and those of them that find a longer queue than can be served within `wait`.

    What is late in the first two cold starts is the fault of the capacity that was found, and not counted as late.
    """
    age = state.age + gap
    decay = math.exp(-gap / scaling.history)
    came = max(observed.arrivals, 0)
    longer = observed.queue * seconds(observed.service_time) > scaling.wait * observed.ready * observed.concurrency
    late = came if observed.queue > 0 and longer and age >= 2 * seconds(observed.cold_start) else 0
    return msgspec.structs.replace(state, age=age, late=state.late * decay + late, served=state.served * decay + came)


def leeway(state: ScalerState, scaling: Scaling, thrift: float) -> float:
    """What `late` is multiplied by: above 1 while fewer requests were late than may be, below 1 once more were."""
    allowed = scaling.late * state.served
    if state.late > allowed:
        return allowed / state.late
    return 1 + thrift * (allowed - state.late) / (allowed + EVIDENCE)


def backlog_slots(observed: Observation, forecast: Forecast, service: float, cold: float) -> float:
    """Slots that clear, within one cold start, the queue there will be when a replica asked for now is ready.

    Until then only the ready ones serve, or, where some are starting already, for half of that time.
    """
    if observed.queue <= 0 or service <= 0:
        return 0.0
    short = forecast.now - observed.ready * observed.concurrency
    until = cold / 2 if observed.starting else cold
    return max(observed.queue + short * until / service, 0.0) * service / max(cold, SOONEST)


def bounded(need: Need, observed: Observation, state: ScalerState, scaling: Scaling) -> Need:
    """The need within min and max; zero only where that is allowed and no request came for `idle` seconds."""
    if scaling.min == 0 and observed.ongoing == 0 and observed.arrivals <= 0:
        if observed.total == 0:
            return Need(0, "at zero, no request")
        if state.quiet >= scaling.idle:
            return Need(0, f"no request for {state.quiet:.0f} s")
    if scaling.min == 0 and observed.total == 0:
        need = Need(need.replicas, f"first request after zero; {need.reason}")
    low = max(scaling.min, 1)
    if need.replicas > scaling.max:
        return Need(scaling.max, f"{need.reason}: {need.replicas} replicas, bounded by max {scaling.max}")
    if need.replicas < low:
        return Need(low, f"{need.reason}; at least {low}")
    return need


def settle(
    observed: Observation, state: ScalerState, need: Need, gap: float, scaling: Scaling
) -> tuple[Decision, ScalerState]:
    """Up at once; down to the most that was needed within `patience`, of the ready replicas alone."""
    fresh = msgspec.structs.replace(state, low_for=0.0, enough=0)
    if need.replicas > observed.total:
        return Decision(start=need.replicas - observed.total, reason=f"up to {need.replicas}: {need.reason}"), fresh
    if observed.total > scaling.max and observed.ready > scaling.max:
        return Decision(stop=observed.ready - scaling.max, reason=f"above max {scaling.max}"), fresh
    if need.replicas >= observed.ready:
        return Decision(reason=f"hold {observed.total}: {need.reason}"), fresh
    if need.replicas == 0:
        return Decision(stop=observed.ready, reason=f"to zero: {need.reason}"), fresh
    enough, low_for = max(state.enough, need.replicas), state.low_for + gap
    if low_for < scaling.patience:
        waiting = msgspec.structs.replace(state, low_for=low_for, enough=enough)
        return Decision(reason=f"hold {observed.total}: {enough} enough for {low_for:.0f} s; {need.reason}"), waiting
    stop = observed.ready - enough
    return Decision(stop=max(stop, 0), reason=f"down to {enough}, enough for {low_for:.0f} s: {need.reason}"), fresh
