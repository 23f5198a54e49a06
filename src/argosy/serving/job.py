"""One caller's rows on their way through the batcher."""

import asyncio
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from argosy.spec.tensor import Array

Feeds = Mapping[str, Array]
Future = asyncio.Future[list[Array]]


class Job:
    """Inputs of one request (or a slice of a large one) and the future that its caller awaits. Times are ns."""

    __slots__ = ("deadline", "feeds", "future", "key", "rows", "since", "timer")

    def __init__(self, feeds: Feeds, rows: int, key: Hashable, future: Future, since: int, deadline: int) -> None:
        self.feeds = feeds
        self.rows = rows
        self.key = key
        self.future = future
        self.since = since
        self.deadline = deadline
        self.timer: asyncio.TimerHandle | None = None


def merge(jobs: Sequence[Job]) -> Feeds:
    """The inputs of several jobs as one batch, in order."""
    if len(jobs) == 1:
        return jobs[0].feeds
    return {name: np.concatenate([job.feeds[name] for job in jobs]) for name in jobs[0].feeds}


def split(outputs: Sequence[Array], jobs: Sequence[Job]) -> list[list[Array]]:
    """The outputs of a batch, cut back into each job's rows (views, no copies)."""
    if len(jobs) == 1:
        return [list(outputs)]
    parts: list[list[Array]] = []
    start = 0
    for job in jobs:
        end = start + job.rows
        parts.append([output[start:end] for output in outputs])
        start = end
    return parts


def slices(feeds: Feeds, rows: int, limit: int) -> list[tuple[Feeds, int]]:
    """A request of more rows than a batch may have, as pieces of at most `limit` rows."""
    return [
        ({name: array[start : start + limit] for name, array in feeds.items()}, min(limit, rows - start))
        for start in range(0, rows, limit)
    ]


def key_of(feeds: Feeds) -> tuple[Any, ...]:
    """What must be equal for two requests to share a batch: the inputs given and their inner shapes."""
    return tuple((name, array.shape[1:]) for name, array in feeds.items())
