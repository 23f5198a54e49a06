"""Writes every minute what came to each revision, from the counters of the gateway."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from argosy.gateway.clusters import WAITING
from argosy.gateway.peers import PEERS
from argosy.gateway.traffic import Traffic as Counted
from argosy.process.repeat import repeat
from argosy.spec.status import View
from argosy.store import traffic
from argosy.store.database import Database
from argosy.store.traffic import HOUR, MINUTE, Traffic
from argosy.telemetry.counters import counts, traffic_since
from argosy.telemetry.feed import Feed, Key

LOG = logging.getLogger(__name__)


class Minutes:
    """`view` is what the controller saw last, `versions` gives `model:version` of every revision by its id.

    What cannot be written is written with the next minute. `clock` gives seconds since 1970.
    """

    def __init__(
        self,
        database: Database,
        feed: Feed,
        view: Callable[[], View],
        versions: Callable[[], Mapping[str, str]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database, self._feed, self._view, self._versions = database, feed, view, versions
        self._clock = clock
        self._before: Mapping[Key, Counted] | None = None
        self._rolled = -1

    async def run(self) -> None:
        """At the end of every minute, until cancelled."""
        what = "writing the traffic of a minute, which goes with the next,"
        await repeat(self.write, lambda: MINUTE - self._clock() % MINUTE + 0.05, what, LOG)

    async def write(self) -> None:
        """Write the minute that has just ended; the first call only reads. Raises Unavailable, StorageFull."""
        now, moment = await self._feed.traffic(), self._clock()
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
        for key in sorted({*serving, *(key for key in now if key[1] not in (WAITING, PEERS))}):
            came = counts(traffic_since(now.get(key, Counted()), before.get(key, Counted())), floor_ms=0.0)
            if came.requests or key in serving:
                mine = [each for each in view.replicas if (each.endpoint, each.revision) == key]
                rows.append(
                    Traffic(
                        endpoint=key[0],
                        revision=key[1],
                        version=versions.get(key[1], ""),
                        at=at,
                        requests=came.requests,
                        errors=came.errors,
                        latency=came.latency,
                        replicas=sum(each.phase == "ready" for each in mine),
                    )
                )
        return rows
