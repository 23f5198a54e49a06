"""The watch over machines of strangers: canaries among the requests of each endpoint that is `untrusted`, for as long
as the platform runs, and an incident where a replica is to be evicted.

Canaries have a key of their own, which only this process and the gateway know: anew at each start, in no list.
"""

import asyncio
import hashlib
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import httpx

from argosy.alerting.incident import Finding
from argosy.monitoring.monitor import ReportFindings
from argosy.packaging.package import stored
from argosy.process.repeat import repeat
from argosy.spec.errors import ArgosyError
from argosy.spec.status import EndpointStatus, View
from argosy.spec.supply import SupplySettings
from argosy.store.keys import KeyRecord, now
from argosy.store.store import Store
from argosy.supply.canaries import Canaries
from argosy.supply.evictions import Evictions

LOG = logging.getLogger(__name__)
LOOK = 5.0
SOURCE, KIND = "hosts", "host"


class Watched(NamedTuple):
    """An endpoint's canaries, and when the next one is due."""

    canaries: Canaries
    due: float


class HostWatch:
    """`view` is what the last pass observed, `reach` says where the gateway of this machine is, `settings` how many
    seconds lie between two canaries of an endpoint, on average, while nothing speaks against any replica, and whether
    hosts are evicted."""

    def __init__(
        self,
        store: Store,
        view: Callable[[], View],
        reach: Callable[[], Awaitable[str]],
        report: ReportFindings,
        settings: SupplySettings,
        evictions: Evictions,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._view, self._reach, self._report = store, view, reach, report
        self._settings, self._evictions, self._clock = settings, evictions, clock
        self._text = f"ac_{secrets.token_hex(6)}_{secrets.token_hex(32)}"
        # This machine is reached at its own address: whatever name is on the gateway's certificate.
        self._http = httpx.Client(headers={"x-api-key": self._text}, timeout=60.0, trust_env=False, verify=False)
        self._watched: dict[str, Watched] = {}
        self._said: dict[str, str] = {}

    def keys(self, records: Sequence[KeyRecord]) -> Sequence[KeyRecord]:
        """All keys, and that of the canaries while there is an endpoint to watch."""
        names = tuple(sorted(self._untrusted()))
        if not names:
            return records
        digest = hashlib.sha256(self._text.encode()).hexdigest()
        return [*records, KeyRecord(id="canaries", name="canaries", scopes=names, hash=digest, created=now())]

    def _untrusted(self) -> dict[str, EndpointStatus]:
        return {name: each for name, each in self._view().endpoints.items() if each.endpoint.untrusted}

    async def run(self) -> None:
        """Until cancelled."""
        await repeat(self._round, self._pause, "the watch over hosts", LOG)

    async def _round(self) -> None:
        if self._watched or self._untrusted():
            await asyncio.to_thread(self.turn, await self._reach())

    def _pause(self) -> float:
        due = min((each.due for each in self._watched.values()), default=self._clock() + LOOK)
        return min(LOOK, max(0.01, due - self._clock()))

    def turn(self, url: str) -> None:
        """Send what is due to the gateway at `url`, and report what is wrong with each endpoint."""
        found = self._untrusted()
        for name in self._watched.keys() - found.keys():
            del self._watched[name]
            self._report(SOURCE, name, [])
        for name, status in found.items():
            there = self._watched.get(name)
            if there is None or there.canaries.revision != status.serving_revision:
                if status.state == "ready" and status.serving_revision == status.revision:
                    self._begin(name, status, url)
            elif there.due <= self._clock():
                try:
                    there.canaries.once()
                except httpx.HTTPError as error:
                    LOG.debug("a canary of %s was not answered: %s", name, error)
                self._watched[name] = Watched(
                    there.canaries, self._clock() + there.canaries.pause(self._settings.canaries)
                )
                self._report(SOURCE, name, self._wrong(name, there.canaries))

    def _begin(self, name: str, status: EndpointStatus, url: str) -> None:
        try:
            package = stored(self._store, status.digest)
            canaries = Canaries(package, status.revision, self._http, f"{url}/v2/models/{name}/infer")
        except ArgosyError as error:
            if self._said.get(name) != error.message:
                LOG.warning("the replicas of %s get no canaries: %s", name, error.message)
            self._said[name] = error.message
            return
        self._watched[name] = Watched(canaries, self._clock() + canaries.pause(self._settings.canaries))

    def _wrong(self, name: str, canaries: Canaries) -> list[Finding]:
        there, found = {each.id: each.host for each in self._view().replicas}, list[Finding]()
        for replica, score in canaries.scores.items():
            if not score.evicted or replica not in there:
                continue
            done = "end its machine"
            if self._settings.evict and there[replica]:
                self._evictions.evict(
                    there[replica], f"'{replica}' does not answer as its package does: {score.evicted}"
                )
                done = f"its host {there[replica]} is evicted"
            finding = Finding(
                endpoint=name,
                kind=KIND,
                subject=replica,
                severity="page",
                title=f"replica '{replica}' does not answer as its package does",
                reason=f"{score.evicted}: {done}; look at what it answered",
            )
            found.append(finding)
        return found
