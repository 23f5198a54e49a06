"""A rollout's progress: what is remembered of it, durably, and what a user may order. Pure."""

from typing import Literal

import msgspec

from argosy.spec.errors import Conflict, InvalidArgument

Phase = Literal["starting", "shadowing", "shifting", "warm", "done", "rolled-back", "aborted", "superseded"]
Order = Literal["", "promote", "abort"]
Command = Literal["pause", "resume", "promote", "abort"]

LIVE = ("starting", "shadowing", "shifting", "warm")
WENT_BACK = ("rolled-back", "aborted")
LONGEST_LOOK = 5.0
"""Seconds that may count between two looks: time in which nobody looked, and jumps of the clock, are no evidence."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """One rollout of an endpoint, the `number`-th, from `stable` to `candidate`, for one generation of its declaration.

    `starting`: the candidate is not ready; `shadowing`: it gets copies of requests; `shifting`: both have traffic;
    `warm`: the candidate has all of it and the stable one could take it back; the others are ends. `held` replicas stay
    with the stable revision. `spent` seconds and `served` requests of the candidate since the phase or step began,
    `exposed` since the rollout began; `looked` is the time of the last look (seconds since 1970). `replaced`: replicas
    of candidate and stable that had to be replaced since it began, `counted` their counters at the last look. `reason`
    says why it ended or what it waits for.
    """

    number: int
    candidate: str
    stable: str
    held: int
    generation: int = 0
    phase: Phase = "starting"
    step: int = 0
    weight: int = 0
    spent: float = 0.0
    served: int = 0
    exposed: int = 0
    looked: float = 0.0
    replaced: tuple[int, int] = (0, 0)
    counted: tuple[int, int] = (0, 0)
    paused: bool = False
    order: Order = ""
    reason: str = ""

    @property
    def live(self) -> bool:
        """Whether it goes on."""
        return self.phase in LIVE


def look(progress: Progress, now: float, exposed: int, counted: tuple[int, int] = (0, 0)) -> Progress:
    """Count what passed since the last look. A counter that fell began anew, with the controller.

    A step's seconds and requests count from the last time that a replica of the candidate had to be replaced.
    """
    seconds = min(max(now - progress.looked, 0.0), LONGEST_LOOK) if progress.looked else 0.0
    more = max(exposed - progress.exposed, 0)
    mine, theirs = (new - old if new >= old else new for old, new in zip(progress.counted, counted, strict=True))
    return msgspec.structs.replace(
        progress,
        looked=now,
        spent=0.0 if mine else progress.spent + seconds,
        served=0 if mine else progress.served + more,
        exposed=progress.exposed + more,
        replaced=(progress.replaced[0] + mine, progress.replaced[1] + theirs),
        counted=counted,
    )


def enter(progress: Progress, phase: Phase, *, step: int = 0, reason: str = "") -> Progress:
    """Begin a phase or a step."""
    return msgspec.structs.replace(progress, phase=phase, step=step, spent=0.0, served=0, reason=reason)


def command(progress: Progress, what: Command) -> Progress:
    """The progress with an order noted; the controller carries it out. The first of promote and abort stands.

    Raises Conflict where the rollout is over or the other was ordered before.
    """
    if not progress.live:
        raise Conflict(f"rollout {progress.number} is over ({progress.phase}): there is nothing to {what}")
    if what in ("pause", "resume"):
        return msgspec.structs.replace(progress, paused=what == "pause")
    if progress.order and progress.order != what:
        raise Conflict(f"rollout {progress.number} cannot {what}: '{progress.order}' was ordered before")
    if what == "promote" and progress.phase == "warm":
        return enter(progress, "done", reason="promoted; the old revision was let go on demand")
    if what not in ("promote", "abort"):
        raise InvalidArgument(f"a rollout can pause, resume, promote or abort, not {what}")
    return msgspec.structs.replace(progress, order=what)
