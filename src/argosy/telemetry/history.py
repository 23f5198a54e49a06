"""Writes every minute what came to each revision, from the counters of the gateway."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from argosy.gateway.clusters import WAITING
from argosy.gateway.traffic import Traffic as Counted
from argosy.serving.counts import bucket
from argosy.spec.errors import ArgosyError
from argosy.spec.status import View
from argosy.store import traffic
from argosy.store.database import Database
from argosy.store.traffic import HOUR, MINUTE, Traffic
from argosy.telemetry.rates import Key, Stats

LOG = logging.getLogger(__name__)


class Minutes:
    """`view` is what the controller saw last, `versions` gives `model:version` of every revision by its id.

    What cannot be written is written with the next minute. `clock` gives seconds since 1970.
    """

    def __init__(
        self,
        database: Database,
        stats: Stats,
        view: Callable[[], View],
        versions: Callable[[], Mapping[str, str]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database, self._stats, self._view, self._versions = database, stats, view, versions
        self._clock = clock
        self._before: Mapping[Key, Counted] | None = None
        self._rolled = -1

    async def run(self) -> None:
        """At the end of every minute, until cancelled."""
        while True:
            try:
                await self.look()
            except ArgosyError as error:
                LOG.warning("the traffic of this minute is written with the next: %s", error.message)
            except Exception:
                LOG.exception("the traffic of this minute is written with the next")
            await asyncio.sleep(MINUTE - self._clock() % MINUTE + 0.05)

    async def look(self) -> None:
        """Write the minute that has just ended; the first look only sets the marks. Raises Unavailable, StorageFull."""
        now, moment = await self._stats(), self._clock()
        if self._before is not None:
            rows = self._rows(self._before, now, int(moment // MINUTE) * MINUTE - MINUTE)
            await asyncio.to_thread(traffic.write, self._database, rows)
        self._before = now
        if (hour := int(moment // HOUR)) != self._rolled:
            await asyncio.to_thread(traffic.roll, self._database, moment)
            self._rolled = hour

    def _rows(self, before: Mapping[Key, Counted], now: Mapping[Key, Counted], at: int) -> list[Traffic]:
        """What serves has a row even without requests: a minute without one was not measured."""
        view, versions = self._view(), self._versions()
        serving = {(name, each.serving_revision) for name, each in view.endpoints.items() if each.serving_revision}
        rows: list[Traffic] = []
        for key in sorted({*serving, *(key for key in now if key[1] != WAITING)}):
            requests, errors, latency = came(before.get(key, Counted()), now.get(key, Counted()))
            if requests or key in serving:
                mine = [each for each in view.replicas if (each.endpoint, each.revision) == key]
                rows.append(
                    Traffic(
                        endpoint=key[0],
                        revision=key[1],
                        version=versions.get(key[1], ""),
                        at=at,
                        requests=requests,
                        errors=errors,
                        latency=latency,
                        replicas=sum(each.phase == "ready" for each in mine),
                    )
                )
        return rows


def came(old: Counted, new: Counted) -> tuple[int, int, dict[int, int]]:
    """Requests, errors and answers by bucket of latency between two looks.

    Counters that fell tell nothing: a gateway that began anew cannot be told from one that let go of a cluster.
    """
    if new.completed < old.completed:
        return 0, 0, {}
    latency: dict[int, int] = {}
    had = {(each.lower, each.width): each.count for each in old.latency}
    for each in new.latency:
        if (more := each.count - had.get((each.lower, each.width), 0)) > 0:
            place = bucket((each.lower + each.width / 2) / 1000)
            latency[place] = latency.get(place, 0) + more
    errors = new.errors + new.grpc_failures - old.errors - old.grpc_failures
    return new.completed - old.completed, max(0, errors), latency
