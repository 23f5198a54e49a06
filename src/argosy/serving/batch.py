"""The batching policy: which waiting jobs run together now. Pure; the batcher carries it out.

Work-conserving (DESIGN.md, decision 3): a free engine takes at once everything of one shape that has gathered, up to
`limit` rows. A positive `delay` lets the oldest job wait that long for company.
"""

from collections.abc import Hashable, Sequence
from typing import Literal, NamedTuple

Reason = Literal["idle", "full", "size", "shape", "delay"]
REASONS: tuple[Reason, ...] = ("idle", "full", "size", "shape", "delay")


class Waiting(NamedTuple):
    """A job in the queue: its rows, what it may be merged with (equal keys), and when it came (seconds)."""

    rows: int
    key: Hashable
    since: float


class Decision(NamedTuple):
    """The positions to run together, and why; or nothing yet, and when to decide again."""

    take: list[int]
    reason: Reason | None
    wait_until: float | None = None


def decide(queue: Sequence[Waiting], now: float, limit: int, delay: float = 0.0) -> Decision:
    """Choose the next batch for a free engine.

    The oldest job is always in it. Jobs of the same key follow in order until one does not fit, so that none is
    overtaken for ever. Reasons: `full` (the limit was reached), `delay` (waited long enough), `shape` (jobs of other
    shapes stay), `idle` (the engine was free and took all there was); `size` is `full` where the limit was
    learned (`sizing.py`) rather than set.
    """
    if not queue:
        return Decision([], None)
    key, rows, take, full = queue[0].key, 0, list[int](), False
    for position, job in enumerate(queue):
        if job.key != key:
            continue
        if take and rows + job.rows > limit:
            full = True
            break
        take.append(position)
        rows += job.rows
    if full or rows >= limit:
        return Decision(take, "full")
    if delay > 0 and now < queue[0].since + delay:
        return Decision([], None, queue[0].since + delay)
    if len(take) < len(queue):
        return Decision(take, "shape")
    return Decision(take, "delay" if delay > 0 else "idle")
