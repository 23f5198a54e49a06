"""A rollout's progress: what is remembered of it, durably, and what a user may order. Pure."""

from typing import Literal

import msgspec

from argosy.spec.errors import Conflict, InvalidArgument
from argosy.store.endpoints import Progress, RolloutPhase

Command = Literal["pause", "resume", "promote", "abort"]

LONGEST_GAP = 5.0
"""Seconds that may count between two passes: longer gaps, and jumps of the clock, are no evidence."""


def count(progress: Progress, now: float, exposed: int, counted: tuple[int, int] = (0, 0)) -> Progress:
    """Count what passed since the last pass. A counter that fell began anew, with the controller.

    A step's seconds and requests count from the last time that a replica of the candidate had to be replaced.
    """
    seconds = min(max(now - progress.looked, 0.0), LONGEST_GAP) if progress.looked else 0.0
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


def enter(progress: Progress, phase: RolloutPhase, *, step: int = 0, reason: str = "") -> Progress:
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
