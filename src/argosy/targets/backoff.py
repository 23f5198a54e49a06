"""When a replica that ended may be started again: exponential, capped, forgiven after a healthy while."""

import msgspec

REFUSED = 7
"""Exit status of a replica that refuses to become ready: golden mismatch, broken package."""


class BackoffPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds. The first restart after a healthy while is at once; refusals begin at `refused` instead."""

    first: float = 0.5
    factor: float = 2.0
    cap: float = 30.0
    refused: float = 60.0
    refused_cap: float = 600.0
    healthy: float = 10.0


DEFAULT = BackoffPolicy()


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """A replica's end: when, its exit status (negative: a signal; None: not our child), seconds it had been ready."""

    now: float
    status: int | None
    healthy: float
    reason: str = ""


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of one slot: failures in a row, starts refused, not before when, and the last reason."""

    failures: int = 0
    refusals: int = 0
    not_before: float = 0.0
    reason: str = ""


def after(ended: Ended, state: Backoff, policy: BackoffPolicy = DEFAULT) -> tuple[float, Backoff]:
    """Seconds to wait before the next start, and what to remember."""
    if ended.healthy >= policy.healthy:
        state = Backoff()
    failures = state.failures + 1
    if ended.status == REFUSED:
        refusals = state.refusals + 1
        delay = min(policy.refused_cap, policy.refused * policy.factor ** min(refusals - 1, 64))
    else:
        refusals = 0
        recovering = ended.healthy > 0 and failures == 1
        delay = 0.0 if recovering else min(policy.cap, policy.first * policy.factor ** min(failures - 1, 64))
    return delay, Backoff(failures=failures, refusals=refusals, not_before=ended.now + delay, reason=describe(ended))


def describe(ended: Ended) -> str:
    """One line for a person: how it ended, and the last thing it said."""
    if ended.status is None:
        how = "it ended"
    elif ended.status < 0:
        how = f"killed by signal {-ended.status}"
    elif ended.status == REFUSED and ended.reason:
        return ended.reason.removeprefix("error: ")
    else:
        how = f"ended with status {ended.status}"
    return f"{how}: {ended.reason}" if ended.reason else how
