"""When a declared trigger fires: (what was found of performance, what was seen before) → (fires or not, what is to be
remembered). Pure."""

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from argosy.spec.monitor import REGRESSION
from argosy.spec.trigger import EstimatedDrop, RealisedDrop, Trigger
from argosy.store.findings import Finding
from argosy.store.monitor_state import MonitorState


class TriggerState(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of a trigger: of which version, the end of the last window that was judged, the bad windows in
    a row up to it, and when it fired last. Times are seconds since 1970."""

    until: float
    version: str = ""
    row: tuple[Finding, ...] = ()
    fired: float | None = None


STATES = MonitorState("trigger", TriggerState)
"""The states of triggers, by endpoint and name."""


class Fired(msgspec.Struct, frozen=True, kw_only=True):
    """A trigger that fires at `at`: the windows that made it, oldest first, and why in words."""

    version: str
    at: float
    findings: tuple[Finding, ...]
    reason: str


def evaluate(
    trigger: Trigger, found: Sequence[Finding], version: str, now: float, state: TriggerState, *, busy: bool = False
) -> tuple[Fired | None, TriggerState]:
    """Evaluate the windows of the serving version that were not evaluated yet, oldest first.

    Windows of which nothing can be said (no figure, too few labels yet) are passed over: the next one may still be the
    next in a row. Another version begins a row of its own. While it is `busy` or rests it goes on counting.
    """
    if version != state.version:
        state = msgspec.structs.replace(state, version=version, row=())
    for finding in sorted(found, key=lambda each: each.window_end):
        if finding.version == version and finding.window_end > state.until and (says := verdict(trigger, finding)):
            row = (*state.row, finding)[-trigger.windows :] if says == "bad" else ()
            state = msgspec.structs.replace(state, until=finding.window_end, row=row)
            rested = state.fired is None or now - state.fired >= trigger.cooldown
            if len(row) == trigger.windows and not busy and rested:
                why = reason(trigger, row)
                fired = Fired(version=version, at=now, findings=row, reason=why)
                return fired, msgspec.structs.replace(state, row=(), fired=now)
    return None, state


def verdict(trigger: Trigger, finding: Finding) -> str:
    """`bad`, `good`, or nothing where this window says nothing of this trigger."""
    kind = "realised" if isinstance(trigger, RealisedDrop) else "estimate"
    if (finding.kind, finding.subject) != (kind, trigger.metric) or finding.undecided:
        return ""
    value, base = finding.effect, against(trigger, finding)
    if value is None or base is None or math.isnan(value):
        return ""
    if isinstance(trigger, RealisedDrop) and _number(finding.detail, "maturity", 0.0) < trigger.maturity:
        return ""
    if isinstance(trigger, EstimatedDrop) and _number(finding.detail, "domain_auc", 0.0) < trigger.domain_auc:
        return "good"
    # The value beyond the margin, and the whole interval on the wrong side of what it is compared with.
    if trigger.metric in REGRESSION:
        worse = value > base * (1 + trigger.margin) and (finding.low is None or finding.low > base)
    else:
        worse = value < base - trigger.margin and (finding.high is None or finding.high < base)
    return "bad" if worse else "good"


def against(trigger: Trigger, finding: Finding) -> float | None:
    """What a window is compared with: the value declared, or that on the reference rows; None where there is none."""
    if trigger.against is not None:
        return trigger.against
    base = _number(finding.detail, "reference", math.nan)
    return None if math.isnan(base) else base


def _number(detail: dict[str, Any], name: str, otherwise: float) -> float:
    value = detail.get(name)
    return float(value) if isinstance(value, int | float) else otherwise


def reason(trigger: Trigger, row: Sequence[Finding]) -> str:
    """In words, of the last window."""
    last = row[-1]
    base = against(trigger, last)
    what = "realised" if isinstance(trigger, RealisedDrop) else "estimated"
    between = f" ({last.low:.3f} to {last.high:.3f})" if last.low is not None and last.high is not None else ""
    margin = f"{trigger.margin:.0%}" if trigger.metric in REGRESSION else f"{trigger.margin:g}"
    often = f", in {len(row)} windows in a row" if len(row) > 1 else ""
    return (
        f"{what} {trigger.metric} of version {last.version} is {last.effect:.3f}{between} on {last.rows:,} rows, "
        f"against {base:.3f} with a margin of {margin}{often}"
    )
