"""One caller's rows on their way through the batcher."""

import asyncio
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from argosy.spec.tensor import Array

if TYPE_CHECKING:
    from argosy.serving.model import Call

Feeds = Mapping[str, Array]
Result = list[Array] | Exception
Done = Callable[[Result], None]


class Job:
    """Inputs of one request (or a slice of a large one). `done` is called once, on the event loop, with its outputs or
    the error; never after `cancel`. Times are ns. `call` is the request, for observers. `weight` is how many rows it
    counts for in a batch.
    """

    __slots__ = ("call", "deadline", "done", "feeds", "finished", "key", "rows", "since", "timer", "weight")

    def __init__(
        self,
        feeds: Feeds,
        rows: int,
        key: Hashable,
        done: Done,
        since: int,
        deadline: int,
        call: "Call | None",
        weight: int = 0,
    ) -> None:
        self.feeds = feeds
        self.rows = rows
        self.weight = weight or rows
        self.key = key
        self.done = done
        self.since = since
        self.deadline = deadline
        self.call = call
        self.timer: asyncio.TimerHandle | None = None
        self.finished = False

    def finish(self, result: Result) -> None:
        """Hand over the result, unless the job is finished or cancelled."""
        if self.finished:
            return
        self.finished = True
        if self.timer is not None:
            self.timer.cancel()
        self.done(result)

    def cancel(self) -> None:
        """The caller went away: free the place in the queue."""
        self.finished = True
        if self.timer is not None:
            self.timer.cancel()


class Pieces:
    """A request of more rows than a batch may have, run as several jobs and joined again. The first error ends it."""

    def __init__(self, count: int, done: Done) -> None:
        self._missing = count
        self._parts: list[list[Array]] = [[] for _ in range(count)]
        self._done = done
        self.jobs: list[Job] = []

    def part(self, position: int) -> Done:
        """What the job of one piece calls when it is done."""

        def finish(result: Result) -> None:
            if isinstance(result, Exception):
                self.cancel()
                self._done(result)
                return
            self._parts[position] = result
            self._missing -= 1
            if not self._missing:
                self._done([np.concatenate(pieces) for pieces in zip(*self._parts, strict=True)])

        return finish

    def cancel(self) -> None:
        """Give up every piece."""
        for job in self.jobs:
            job.cancel()


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
    """The pieces of at most `limit` rows of a request, with the rows of each."""
    return [
        ({name: array[start : start + limit] for name, array in feeds.items()}, min(limit, rows - start))
        for start in range(0, rows, limit)
    ]


def key_of(feeds: Feeds) -> tuple[Any, ...]:
    """What must be equal for two requests to share a batch: the inputs given and their inner shapes."""
    return tuple((name, array.shape[1:]) for name, array in feeds.items())
