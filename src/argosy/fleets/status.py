"""A deployment as API, console and command show it."""

from collections import Counter

import msgspec

from argosy.fleets.readings import Readings
from argosy.fleets.update import unfit
from argosy.fleets.waves import WaveState, decide
from argosy.store.fleets import Deployment, DeploymentState, WaveCount


class WaveStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A wave as it was declared, and how many of its devices are in which state."""

    share: float | None = None
    devices: int | None = None
    match: dict[str, str] = {}
    states: dict[str, int] = {}


class DeploymentStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment now. `wave` counts from 1. `failures`: where the share of devices
    that fail with it lies, at all times together. `left_out`: devices that cannot run it, by reason."""

    fleet: str
    number: int
    ref: str
    package: str
    state: DeploymentState
    reason: str
    match: dict[str, str]
    wave: int
    waves: tuple[WaveStatus, ...]
    allowed: int
    matching: int
    assigned: int
    offline: int
    begun: int
    committed: int
    failed: int
    silent: int
    failures: tuple[float, float]
    compared: int
    agreed: int
    sent: int
    again: int
    left_out: dict[str, int]
    created: float
    changed: float
    actor: str


def status_of(found: Deployment, state: WaveState, readings: Readings, waves: list[WaveCount]) -> DeploymentStatus:
    """What is shown of a deployment that stands at `state`."""
    declared, update = readings.declared(found)
    observed = readings.observe(found, state, answers=False)
    decision, after = decide(declared, observed, state)
    reasons = Counter(
        unfit(update, each.facts)
        for each in readings.census(found.fleet)
        if declared.match.items() <= each.labels.items()
    )
    return DeploymentStatus(
        fleet=found.fleet,
        number=found.number,
        ref=found.ref,
        package=found.package,
        state=found.state,
        reason=after.reason if after.phase == state.phase and after.wave == state.wave else state.reason,
        match=declared.match,
        wave=state.wave + 1,
        waves=tuple(
            WaveStatus(
                share=each.share,
                devices=each.devices,
                match=each.match,
                states={one.state: one.devices for one in waves if one.wave == place},
            )
            for place, each in enumerate(declared.waves)
        ),
        allowed=decision.allowed,
        matching=observed.matching,
        assigned=observed.assigned,
        offline=observed.offline,
        begun=observed.begun,
        committed=observed.committed,
        failed=observed.failed,
        silent=observed.silent,
        failures=decision.interval,
        compared=sum(each.compared for each in waves),
        agreed=sum(each.agreed for each in waves),
        sent=sum(each.sent for each in waves),
        again=sum(each.again for each in waves),
        left_out={reason: count for reason, count in reasons.most_common() if reason},
        created=found.created,
        changed=found.changed,
        actor=found.actor,
    )
