"""A deployment as API, console and command show it."""

from collections import Counter
from typing import Any

import msgspec

from argosy.fleets.readings import Readings
from argosy.fleets.update import unfit
from argosy.fleets.waves import WaveState, decide
from argosy.spec.fleet import Wave
from argosy.store.fleets import Deployment, DeploymentState, WaveCount

SHOWN = ("matching", "assigned", "offline", "begun", "committed", "failed", "silent")


class DeploymentStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment now. `wave` counts from 1; `waves` are those declared, `states` how many of the devices of each are
    in which state. `devices`: of the present wave's `matching` ones those `assigned` and `offline`; of all that have
    `begun` those that `committed`, that `failed`, and of these the `silent`. `failures`: where the share of devices
    that fail with it lies, at all times together. `left_out`: devices that cannot run it, by reason."""

    fleet: str
    number: int
    ref: str
    package: str
    state: DeploymentState
    reason: str
    match: dict[str, str]
    wave: int
    waves: tuple[Wave, ...]
    states: tuple[dict[str, int], ...]
    devices: dict[str, int]
    failures: tuple[float, float]
    compared: int
    agreed: int
    sent: int
    again: int
    left_out: dict[str, int]
    created: float
    changed: float
    actor: str


def status_of(found: Deployment, state: WaveState, readings: Readings, counts: list[WaveCount]) -> DeploymentStatus:
    """What is shown of a deployment that stands at `state`."""
    declared, update = readings.declared(found)
    observed = readings.observe(found, state, answers=False)
    decision, after = decide(declared, observed, state)
    seats = [each for each in readings.census(found.fleet) if declared.match.items() <= each.labels.items()]
    reasons = Counter(unfit(update, each.facts) for each in seats)
    of = ("fleet", "number", "ref", "package", "state", "created", "changed", "actor")
    shared: dict[str, Any] = {name: getattr(found, name) for name in of}
    shared |= {name: sum(getattr(each, name) for each in counts) for name in ("compared", "agreed", "sent", "again")}
    return DeploymentStatus(
        **shared,
        reason=after.reason if (after.phase, after.wave) == (state.phase, state.wave) else state.reason,
        match=declared.match,
        wave=state.wave + 1,
        waves=declared.waves,
        states=tuple(
            {each.state: each.devices for each in counts if each.wave == place} for place in range(len(declared.waves))
        ),
        devices={name: getattr(observed, name) for name in SHOWN},
        failures=decision.interval,
        left_out={reason: count for reason, count in reasons.most_common() if reason},
    )
