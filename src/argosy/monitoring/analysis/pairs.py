"""Answers of two arms to the same requests: two streams of what replicas recorded, joined. Pure."""

from collections.abc import Iterable

import msgspec

from argosy.serving.answers import RecordedAnswer

MOST = 10_000
"""Answers that may wait for their other half, of each arm."""
MOST_BYTES = 64 * 1024 * 1024
"""What they may hold together, of each arm."""
PATIENCE = 30.0
"""Seconds for which an answer waits for its other half, and for which a matched id is remembered."""


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """Answers of the stable arm and of the candidate that lack the other's, each with the time it came, the oldest
    first; and when ids were last done with."""

    stable: dict[str, tuple[float, RecordedAnswer]] = {}
    candidate: dict[str, tuple[float, RecordedAnswer]] = {}
    done: dict[str, float] = {}


class Joined(msgspec.Struct, frozen=True, kw_only=True):
    """Pairs (stable, candidate) of one look; how many answers of each arm were given up as having no other half; how
    many had an id that was there before and so could not be told apart."""

    pairs: tuple[tuple[RecordedAnswer, RecordedAnswer], ...] = ()
    unmatched: tuple[int, int] = (0, 0)
    repeated: int = 0


def join(
    waiting: Waiting, stable: Iterable[RecordedAnswer], candidate: Iterable[RecordedAnswer], now: float
) -> tuple[Joined, Waiting]:
    """Pair what came with what waits. An id that one arm answers twice (a retry, a caller's own) pairs nothing.

    Memory is bounded by MOST, MOST_BYTES and PATIENCE: what does not fit is given up, the oldest first.
    """
    done = {id: since for id, since in waiting.done.items() if now - since < PATIENCE}
    arms = (dict(waiting.stable), dict(waiting.candidate))
    repeated = 0
    for arm, came in zip(arms, (stable, candidate), strict=True):
        for each in came:
            if each.id in done or each.id in arm:
                repeated += 1 + (arm.pop(each.id, None) is not None)
                done[each.id] = now
            else:
                arm[each.id] = (now, each)
    both = [id for id in arms[0] if id in arms[1]]
    pairs = tuple((arms[0].pop(id)[1], arms[1].pop(id)[1]) for id in both)
    done |= dict.fromkeys(both, now)
    lost = [_expire(arm, now) for arm in arms]
    kept = dict(list(done.items())[-MOST:])
    joined = Joined(pairs=pairs, unmatched=(lost[0], lost[1]), repeated=repeated)
    return joined, Waiting(stable=arms[0], candidate=arms[1], done=kept)


def _expire(arm: dict[str, tuple[float, RecordedAnswer]], now: float) -> int:
    """Drop the oldest until all is young, few and small enough. How many."""
    size, lost = sum(each.size for _, each in arm.values()), 0
    while arm:
        oldest = next(iter(arm))
        since, answer = arm[oldest]
        if now - since < PATIENCE and len(arm) <= MOST and size <= MOST_BYTES:
            break
        size -= answer.size
        del arm[oldest]
        lost += 1
    return lost
