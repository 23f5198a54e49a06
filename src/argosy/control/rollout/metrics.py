"""Users' metrics for the guard: asked for beside the loop, which takes what has come and never waits for it."""

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping

import msgspec

from argosy.control.rollout.evidence import Evidence
from argosy.monitoring.analysis.prometheus import Prometheus
from argosy.spec.errors import ArgosyError
from argosy.spec.guard import Metric
from argosy.spec.revision import Revision
from argosy.store.endpoints import Declared

LOG = logging.getLogger(__name__)

Pair = tuple[float | None, float | None]
Key = tuple[str, int, str]
"""Endpoint, the number of its rollout, the metric's name."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One metric of a rollout that goes on: what to ask for both revisions. `wait`: seconds until its next number is
    due, which count when asking begins."""

    metric: Metric
    candidate: str
    stable: str
    wait: float = 0.0


def asked(
    declared: Iterable[Declared], revisions: Mapping[str, Revision], known: Callable[[str], Evidence]
) -> dict[Key, Asked]:
    """What is to be asked now: the metrics of every rollout in which both revisions have traffic. Pure.

    A controller that starts anew goes on in the pace of the one before: `known` is the evidence of an endpoint.
    """
    found: dict[Key, Asked] = {}
    for each in declared:
        guard, progress = each.endpoint.guard, each.serving.rollout
        if guard is None or progress is None or progress.phase != "shifting":
            continue
        state = known(each.endpoint.name).state
        for metric in guard.metrics:
            arrived = metric.name in state.pairs
            found[each.endpoint.name, progress.number, metric.name] = Asked(
                metric=metric,
                candidate=filled(metric.query, each.endpoint.name, revisions.get(progress.candidate)),
                stable=filled(metric.query, each.endpoint.name, revisions.get(progress.stable)),
                wait=max(0.0, metric.pace - state.silent.get(metric.name, 0.0)) if arrived else 0.0,
            )
    return found


def filled(query: str, endpoint: str, revision: Revision | None) -> str:
    """The query of one revision. Names are of letters that need no quoting; other `$` stay as they are."""
    names = {"$endpoint": endpoint}
    if revision is not None:
        names |= {"$revision": revision.id, "$version": revision.version}
    return re.sub(r"\$(endpoint|revision|version)\b", lambda found: names.get(found.group(), found.group()), query)


class Metrics:
    """Asks for what is wanted, each at its own pace, and keeps what came until it is taken, once.

    Without a source nothing is asked, and every metric has that as its trouble.
    """

    def __init__(
        self,
        source: Prometheus | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._source, self._clock, self._sleep = source, clock, sleep
        self._tasks: dict[Key, tuple[Asked, asyncio.Task[None]]] = {}
        self._came: dict[Key, Pair] = {}
        self._troubles: dict[Key, str] = {}

    def want(self, wanted: Mapping[Key, Asked]) -> None:
        """From now on ask for these and nothing else."""
        for key, (old, task) in list(self._tasks.items()):
            if key in wanted and wanted[key] == msgspec.structs.replace(old, wait=wanted[key].wait):
                continue
            del self._tasks[key]
            task.cancel()
            self._came.pop(key, None)
            self._troubles.pop(key, None)
        for key in wanted.keys() - self._tasks.keys():
            self._tasks[key] = wanted[key], asyncio.create_task(self._keep_asking(key, wanted[key]))

    def take(self, endpoint: str, rollout: int) -> tuple[dict[str, Pair], dict[str, str]]:
        """The numbers of a rollout that came since they were last taken, and why others do not come."""
        mine = [key for key in self._tasks if key[:2] == (endpoint, rollout)]
        came = {key[2]: self._came.pop(key) for key in mine if key in self._came}
        return came, {key[2]: text for key in mine if (text := self._troubles.get(key))}

    async def _keep_asking(self, key: Key, what: Asked) -> None:
        await self._sleep(what.wait)
        while True:
            try:
                pair = await self._ask(what)
                names = zip(("candidate", "stable revision"), pair, strict=True)
                trouble = ""
                if absent := [name for name, number in names if number is None]:
                    trouble = f"the query gives no data for the {' and the '.join(absent)}"
                else:
                    self._came[key] = pair
            except ArgosyError as error:
                trouble = error.message
            except Exception as error:
                LOG.exception("the metric '%s' of '%s' cannot be asked for", key[2], key[0])
                trouble = f"{type(error).__name__}: {error}"
            self._troubles[key] = trouble
            await self._sleep(what.metric.pace)

    async def _ask(self, what: Asked) -> Pair:
        if self._source is None:
            raise ArgosyError("no Prometheus to ask is set (prometheus.url)")
        at = self._clock()
        both = (self._source.number(query, at) for query in (what.candidate, what.stable))
        candidate, stable = await asyncio.gather(*both)
        return candidate, stable

    async def close(self) -> None:
        """Ask nothing more."""
        tasks = [task for _, task in self._tasks.values()]
        self.want({})
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if self._source is not None:
            await self._source.close()
