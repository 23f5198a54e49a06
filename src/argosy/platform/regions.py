"""What the holder of a plan knows of its own platform, and its ways to the regions."""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from urllib.parse import quote

import msgspec

from argosy.api.region import PREFIX
from argosy.api.traffic import over_time
from argosy.client.control import ControlClient
from argosy.control.controller import Controller
from argosy.control.state import State
from argosy.language.config import beside
from argosy.process.child import ONE_THREAD, Child
from argosy.regions.budgets import Spends
from argosy.regions.holder import PATIENCE
from argosy.regions.placing import PlanJob
from argosy.regions.shares import spends
from argosy.regions.wire import PlacedEndpoint, RegionOrder, RegionReport, SentPackage
from argosy.spec.errors import Internal
from argosy.spec.offer import Offer
from argosy.spec.plan import MadePlan
from argosy.spec.revision import Revision
from argosy.spec.settings import Settings
from argosy.spec.status import EndpointStatus
from argosy.spec.supply import SupplySettings
from argosy.store.endpoints import Declared
from argosy.store.keys import KeyRecord
from argosy.store.manifest import MAX_DOCUMENT, check_digest
from argosy.store.regions import Region
from argosy.store.store import Store
from argosy.store.usage import TokenLedger
from argosy.supply.launcher import Launcher
from argosy.supply.offers import every
from argosy.telemetry.rates import Meter

DAY = 86400.0
SOLVING = 300.0
"""Seconds for a plan and its alternatives, at most."""
SENDING = 600.0
"""Seconds without an answer to a blob."""


class OwnPlatform:
    """See `regions.holder.Here`."""

    def __init__(
        self,
        store: Store,
        state: State,
        controller: Controller,
        settings: Settings,
        hourly: Callable[[], Mapping[str, float]],
    ) -> None:
        self._store, self._state, self._controller, self._settings = store, state, controller, settings
        self.hourly = hourly

    def declared(self) -> Sequence[tuple[PlacedEndpoint, int]]:
        """Endpoints for regions, as other platforms can declare them: with numbers of versions, and without keys, which
        go apart."""
        revisions = self._state.revisions()
        found = [each for each in self._state.endpoints() if each.endpoint.regions]
        return [(self._placed(each, revisions[each.revision]), each.generation) for each in found]

    def _placed(self, declared: Declared, revision: Revision) -> PlacedEndpoint:
        ref = f"{revision.model}:{revision.version}"
        packages = {ref: revision.digest}
        for more in beside(revision.language) if revision.language else ():
            packages[more] = self._store.registry.resolve(more).digest
        endpoint = msgspec.structs.replace(declared.endpoint, model=ref, follow=False, keys=())
        return PlacedEndpoint(endpoint=endpoint, packages=packages)

    def keys(self) -> Iterable[KeyRecord]:
        """All API keys."""
        return self._store.keys.list()

    def spent(self, keys: Iterable[str]) -> Spends:
        """What these keys have used here of each limit."""
        ledger = TokenLedger(self._store.database, lambda _: None)
        return {each: spends(ledger.account(each), int(time.time())) for each in keys}

    def status(self) -> Mapping[str, EndpointStatus]:
        """Endpoints of this platform."""
        return self._controller.view.endpoints

    def gateway(self) -> str:
        """Where clients reach the gateway."""
        return self._settings.gateway.url or self._controller.gateway_url


class PlanSources:
    """See `regions.replan.Here`."""

    def __init__(self, store: Store, state: State, settings: SupplySettings, meter: Meter, launcher: Launcher) -> None:
        self._store, self._state, self._settings, self._meter, self._launcher = store, state, settings, meter, launcher
        self._child = Child("the plan", timeout=SOLVING, environ=ONE_THREAD, nice=5)

    def endpoints(self) -> Mapping[str, Collection[str]]:
        return {each.endpoint.name: each.endpoint.regions for each in self._state.endpoints()}

    def rates(self, endpoint: str) -> tuple[float, float]:
        minutes = over_time(self._store.database, endpoint, time.time() - DAY, 300)
        busiest = max((each.requests / max(60, each.seconds) for each in minutes), default=0.0)
        return busiest, self._meter.now(endpoint).requests

    def offers(self) -> Sequence[Offer]:
        return every(self._store.database, self._settings, self._launcher.providers.values())

    def solve(self, job: PlanJob) -> MadePlan:
        """In a child process, which ends with it."""
        try:
            return self._child.run("argosy.regions.placing:remade", job, MadePlan)
        finally:
            self._child.close()

    def close(self) -> None:
        self._child.cancel()


class ControlLink:
    """A region by its control API; see `regions.holder.RegionLink`."""

    def __init__(self, store: Store, region: Region) -> None:
        self._store, self._region = store, region

    def _client(self, timeout: float = PATIENCE) -> ControlClient:
        return ControlClient.at(self._region.url, self._region.token, self._region.fingerprint, timeout)

    def report(self) -> RegionReport:
        return msgspec.convert(self._client().get(PREFIX), RegionReport)

    def order(self, order: RegionOrder) -> RegionReport:
        return msgspec.convert(self._client().put(PREFIX, order), RegionReport)

    def leave(self, holder: str) -> None:
        self._client().delete(PREFIX, holder=holder)

    def send(self, ref: str, digest: str) -> None:
        """The manifests, then the blobs that are asked for, then the manifests again."""
        layout, client = self._store.layout, self._client(SENDING)
        names = (digest, *(each.digest for each in layout.referrers(digest)))
        manifests = [layout.blobs.read(layout.descriptor(each), MAX_DOCUMENT, f"the manifest {each}") for each in names]
        sent = SentPackage(digest=digest, manifests=tuple(manifests), trusted=self._store.registry.trusted(digest))
        name, _, number = ref.rpartition(":")
        path = f"{PREFIX}/packages/{quote(name, safe='')}/{number}"
        for blob in client.put(path, sent):
            client.put_file(f"{PREFIX}/blobs/{check_digest(blob)}", layout.blobs.path(blob))
        if lacking := client.put(path, sent):
            raise Internal(f"region '{self._region.name}' still lacks {len(lacking)} blobs of {ref}")
