"""The loop: observe, decide, act. Wakes on a change, on a replica's change, and every second."""

import asyncio
import contextlib
import difflib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from argosy.control.decide import Action, Remove, Route, Scale, decide, unchanged
from argosy.control.passes import Passes
from argosy.control.recording import Quotas, Recording
from argosy.control.rollout.analysis import Analysis
from argosy.control.rollout.metrics import asked
from argosy.control.rollout.strategy import Observation, Wanted
from argosy.control.rollout.table import Rollouts
from argosy.control.routing import api_keys, endpoint_route, shared_route, upstreams
from argosy.control.scaling.activation import Activation
from argosy.control.scaling.scaler import Scaler
from argosy.control.state import State
from argosy.control.status import Facts, status
from argosy.gateway.base import Routing
from argosy.gateway.memo import Memo
from argosy.gateway.model import ApiKey, EndpointRoute, Upstream
from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import ArgosyError, NotFound, Unavailable
from argosy.spec.guard import Advice
from argosy.spec.language import TokenLimits
from argosy.spec.region import Peer
from argosy.spec.revision import Revision, RevisionStatus
from argosy.spec.scaling import Scaling
from argosy.spec.settings import GatewaySettings
from argosy.spec.status import EndpointStatus, ReplicaStatus, SloStatus, View
from argosy.store.endpoints import Declared, Serving
from argosy.store.keys import KeyRecord, Keys
from argosy.targets.base import Target
from argosy.telemetry.feed import Feed

LOG = logging.getLogger(__name__)

TICK = 1.0
GATEWAY_RETRY = 2.0
NOTHING = RevisionStatus()


class ShownRevision(NamedTuple):
    """What is made of a revision's status, as long as that is the same."""

    replicas: tuple[ReplicaStatus, ...]
    upstreams: tuple[Upstream, ...]


class Controller:
    """Owns the target and the gateway of one home. Everything it knows for longer than a pass is in the database."""

    def __init__(self, state: State, keys: Keys, target: Target, gateway: Routing, settings: GatewaySettings) -> None:
        self.view = View()
        self.feed = Feed(gateway.stats)
        self.scaler = Scaler(self.feed)
        self.passes = Passes()
        self.activation: Activation | None = None
        self.recording: Recording | None = None
        self.quotas: Quotas | None = None
        self.slos: Callable[[str], tuple[SloStatus, ...]] = lambda name: ()
        self.own_part: Callable[[Endpoint], Endpoint] = lambda endpoint: endpoint
        self.own_keys: Callable[[Sequence[KeyRecord]], Sequence[KeyRecord]] = lambda records: records
        self.peers: Callable[[], tuple[Peer, ...]] = tuple
        self.key_hashes: Callable[[], Mapping[str, str]] = dict
        self.analysis = Analysis(Rollouts(state.database), self.feed)
        self._state, self._keys = state, keys
        self.target, self._gateway, self._settings = target, gateway, settings
        target.changed = self.wake
        self._wake = asyncio.Event()
        self._passed = asyncio.Condition()
        self._begun = 0
        self._seen = False
        self._declared: list[Declared] = []
        self._revisions: dict[str, Revision] = {}
        self._key_list: tuple[ApiKey, ...] = ()
        self._limits: dict[str, TokenLimits] = {}
        self._routed: dict[str, frozenset[str]] = {}
        self._routes: dict[str, EndpointRoute] = {}
        self._parts: Memo[ShownRevision] = Memo()
        self._applied: tuple[list[EndpointRoute], tuple[ApiKey, ...]] | None = None
        self._gateway_after = 0.0
        self._url = ""

    @property
    def declared(self) -> list[Declared]:
        """What was declared at the last pass, with the rollouts."""
        return self._declared

    @property
    def gateway_url(self) -> str:
        """Where clients reach the gateway; empty until it listens."""
        return self._url

    def wake(self) -> None:
        """Something changed: begin the next pass now."""
        self._wake.set()

    async def start(self, *, gateway_runs: bool) -> int:
        """Start the gateway unless it was adopted, and adopt replicas: how many. Raises Conflict, Unavailable.

        A gateway that died meanwhile is followed by one with the same routes.
        """
        replicas = await self.target.adopt()
        if error := await self._read():
            raise Unavailable(error)
        goes_on = gateway_runs or await self._gateway.resume()
        if not goes_on:
            await self._gateway.start((), self._key_list)
        self._routed = {each.endpoint.name: _serving(each.serving) for each in self._declared if goes_on}
        self._url = await self._gateway.url()
        return replicas

    async def run(self) -> None:
        """Pass after pass, until cancelled. The view reports a pass that fails, and the next one tries again."""
        while True:
            self._wake.clear()
            began, good = time.perf_counter(), False
            try:
                await self.step()
                good = True
            except Exception as error:
                LOG.exception("a pass of the controller failed; the next one tries again")
                text = error.message if isinstance(error, ArgosyError) else f"{type(error).__name__}: {error}"
                await self._publish(msgspec.structs.replace(self.view, number=self._begun, error=text))
            self.passes.note(time.perf_counter() - began, good)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK):
                    await self._wake.wait()

    async def step(self) -> None:
        self._begun += 1
        error = await self._read()
        there = await self.target.revisions()
        for revision in there:
            self._revisions.setdefault(revision.id, revision)
        running = {each.id: await self.target.endpoints(each.id) for each in there}
        await self.scaler.update(self._declared, running)
        self.analysis.metrics.want(asked(self._declared, self._revisions, self.analysis.evidence))
        await self.analysis.update(self._declared, running, self._revisions)
        routes: list[EndpointRoute] = []
        removals: list[str] = []
        of: dict[str, dict[str, RevisionStatus]] = {each.endpoint.name: {} for each in self._declared}
        for revision, each in running.items():
            of.setdefault(self._revisions[revision].endpoint, {})[revision] = each
        declared = {each.endpoint.name: each for each in self._declared}
        for name in sorted(of):
            route = await self._endpoint(name, declared.get(name), of[name], removals)
            routes += [route] if route else []
        by_name = {each.endpoint: each for each in routes}
        for each in self._declared:
            if base := each.endpoint.shares:
                version = self._revisions[each.revision].version
                routes.append(shared_route(each.endpoint, version, by_name.get(base)))
        if self.activation is not None:
            routes = self.activation.admit(routes, self._declared)
        before, self._routes = self._routes, {each.endpoint: each for each in routes}
        # The gateway makes anew what is another object.
        self._routes |= {name: before[name] for name, each in self._routes.items() if before.get(name) == each}
        routes = [*self._routes.values()]
        if self.recording is not None:
            self.recording.update(self._declared, [(self._revisions[each], at) for each, at in running.items()])
        if self.quotas is not None:
            self.quotas.update(self._declared, self._revisions, self._limits)
        if trouble := await self._apply(routes, running):
            error = trouble
        else:
            for revision in removals:
                await self.target.remove(revision)
        await self._publish(self._viewed(running, error))
        self._parts.turn()
        self._seen = True

    async def _read(self) -> str:
        """Read declarations and keys; where the database does not answer, the last ones stay good."""
        try:
            found = await asyncio.to_thread(self._state.endpoints)
            parts = [(each, self.own_part(each.endpoint)) for each in found]
            found = [each if part is each.endpoint else replace(each, endpoint=part) for each, part in parts]
            self._declared = await self.analysis.read(found)
            self._revisions = await asyncio.to_thread(self._state.revisions)
            records = self.own_keys(await asyncio.to_thread(self._keys.list))
        except ArgosyError as error:
            return error.message
        self._key_list = api_keys(records, self._settings, self.key_hashes())
        self._limits = {each.id: each.limits for each in records if each.limits is not None and each.revoked is None}
        return ""

    async def _endpoint(
        self, name: str, declared: Declared | None, running: dict[str, RevisionStatus], removals: list[str]
    ) -> EndpointRoute | None:
        """Decide about one endpoint, whose revisions are `running`, write it down, and do all but what has to wait for
        the gateway."""
        evidence = self.analysis.evidence(name)
        observed = Observation(
            wanted=self._wanted(declared) if declared else None,
            running=running,
            routed=self._routed.get(name, frozenset()),
            now=self.analysis.now,
            guard=Advice(verdict=evidence.verdict, reason=evidence.reason),
            comparison=evidence.compared,
            exposed=evidence.exposed,
            cached=evidence.prompts and (evidence.prompts[0].cached, evidence.prompts[1].cached),
        )
        if declared is None or declared.endpoint.shares:
            removals += [each.revision for each in decide(observed, Serving())[0] if isinstance(each, Remove)]
            return None
        actions, serving = decide(observed, declared.serving)
        if serving != declared.serving:
            try:
                await self.analysis.note(name, serving, dict(unchanged(observed, serving).weights))
            except ArgosyError as error:
                LOG.warning("'%s' stays as it is, since a change cannot be written: %s", name, error.message)
                return await self._act(declared, (unchanged(observed, declared.serving),), running, removals)
            declared = msgspec.structs.replace(declared, serving=serving)
            self._declared = [declared if each.endpoint.name == name else each for each in self._declared]
        return await self._act(declared, actions, running, removals)

    def blind(self) -> bool:
        """Whether something serves in a place of which nothing is known yet."""
        blank = {name for name, each in self.target.away().items() if each.blank}
        serving = {each for one in self._declared for each in _serving(one.serving)} if blank else ()
        return any(self._revisions[each].target in blank for each in serving if each in self._revisions)

    def _wanted(self, declared: Declared) -> Wanted:
        endpoint = declared.endpoint
        return Wanted(
            revision=declared.revision,
            replicas=self.scaler.replicas(declared),
            elastic=isinstance(endpoint.replicas, Scaling),
            generation=declared.generation,
            policy=endpoint.rollout,
            guarded=endpoint.guard is not None,
        )

    async def _act(
        self, declared: Declared, actions: tuple[Action, ...], running: dict[str, RevisionStatus], removals: list[str]
    ) -> EndpointRoute:
        route = Route()
        for action in actions:
            if isinstance(action, Scale):
                await self.target.scale(self._revisions[action.revision], action.replicas)
            elif isinstance(action, Route):
                route = action
            else:
                removals.append(action.revision)
        return endpoint_route(
            declared.endpoint, route, self._revisions, lambda each: self._part(each, running).upstreams, self.peers()
        )

    def _part(self, revision: str, running: dict[str, RevisionStatus]) -> ShownRevision:
        """What is shown and routed of a revision."""
        status = running.get(revision, NOTHING)

        def make() -> ShownRevision:
            version = f"{self._revisions[revision].model}:{self._revisions[revision].version}"
            shown = tuple(
                ReplicaStatus(**msgspec.structs.asdict(replica), version=version) for replica in status.replicas
            )
            return ShownRevision(shown, upstreams(status.replicas))

        return self._parts.get(revision, status, make)

    async def _apply(self, routes: list[EndpointRoute], running: dict[str, RevisionStatus]) -> str:
        """Bring the gateway to these routes and keys, then release what drains. What went wrong, if anything."""
        try:
            if not self._gateway.runs:
                await self._restart_gateway(routes)
            elif self._applied != (routes, self._key_list):
                await self._gateway.apply(routes, self._key_list)
                self._applied = (routes, self._key_list)
            else:
                await self._gateway.sweep()
        except ArgosyError as error:
            self._applied = None
            return f"the gateway was not changed: {error.message}"
        self._routed = {each.endpoint: frozenset(r.revision for r in each.revisions) for each in routes}
        self._url = self._url or await self._gateway.url()
        draining = [r.id for each in running.values() for r in each.replicas if r.phase == "draining"]
        if draining and self._gateway.settled:
            await self.target.release(draining)
        return ""

    async def _restart_gateway(self, routes: list[EndpointRoute]) -> None:
        if time.monotonic() < self._gateway_after:
            return
        self._gateway_after = time.monotonic() + GATEWAY_RETRY
        LOG.warning("the gateway is gone; starting it again")
        await self._gateway.start(routes, self._key_list)
        self._applied = (routes, self._key_list)
        self._url = await self._gateway.url()

    def revisions(self) -> Mapping[str, Revision]:
        """All that there are, by id."""
        return self._revisions

    def versions(self) -> dict[str, str]:
        """Revision → `model:version`."""
        return {key: f"{each.model}:{each.version}" for key, each in self._revisions.items()}

    async def gateway_stats(self, pattern: str) -> dict[str, float]:
        """Envoy's own statistics whose names match. Raises Unavailable."""
        return await self._gateway.statistics(pattern)

    def _viewed(self, running: dict[str, RevisionStatus], error: str) -> View:
        replicas = [each for key in running for each in self._part(key, running).replicas]
        return View(
            number=self._begun,
            endpoints={each.endpoint.name: self._status(each, running, error) for each in self._declared},
            replicas=tuple(sorted(replicas, key=lambda each: each.id)),
            replaced={(self._revisions[key].endpoint, key): each.replaced for key, each in running.items()},
            error=error,
        )

    def _status(self, declared: Declared, running: dict[str, RevisionStatus], error: str) -> EndpointStatus:
        name = declared.endpoint.name
        path = f"/v2/models/{name}/infer" if self._revisions[declared.revision].language is None else "/v1"
        found = status(
            Facts(
                declared=declared,
                revisions=self._revisions,
                running=running,
                routed=self._routed.get(name, frozenset()),
                error=error,
                url=f"{self._url}{path}",
                now=time.time(),
                wanted=self.scaler.replicas(declared),
                scaling=self.scaler.reason(name),
                cold_start=self.scaler.cold(
                    declared, running.get(declared.serving.active or declared.revision, NOTHING)
                ),
                slos=self.slos(name),
            )
        )
        if not declared.endpoint.shares:
            return found
        there = next((each for each in self._declared if each.endpoint.name == declared.endpoint.shares), None)
        of, route = self._status(there, running, error) if there else found, self._routes.get(name)
        state = "ready" if route and (route.ready or route.waiting) else "starting"
        by, about = f"by the replicas of {declared.endpoint.shares}", {"replicas": of.replicas, "ready": of.ready}
        return msgspec.structs.replace(found, state=state, reason=by, serving=found.version, **about)

    async def _publish(self, view: View) -> None:
        async with self._passed:
            self.view = view
            self._passed.notify_all()

    async def settled(self, seconds: float = 10.0) -> None:
        """Wait until a pass that began after this call has ended, or the time is over."""
        begun = self._begun
        self.wake()
        await self._until(lambda: self.view.number > begun, seconds)

    def seen(self) -> View:
        """The view. Raises Unavailable where no pass has seen yet what there is, as when a controller begins."""
        if not self._seen:
            raise Unavailable(f"the controller has just begun: {self.view.error or 'ask again'}", retry_after=1.0)
        return self.view

    async def wait(self, name: str, seconds: float) -> EndpointStatus:
        """The endpoint once it is ready, stopped or failed; as it is, when the time is over. Raises NotFound, and
        Unavailable as `seen` does."""

        def over() -> bool:
            found = self.view.endpoints.get(name)
            return found is None or found.state in ("ready", "failed", "stopped")

        await self.settled()
        await self._until(over, seconds)
        if found := self.seen().endpoints.get(name):
            return found
        near = difflib.get_close_matches(name, self.view.endpoints, n=1)
        raise NotFound(f"there is no endpoint '{name[:80]}'" + (f"; did you mean '{near[0]}'?" if near else ""))

    async def _until(self, over: Callable[[], bool], seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._passed:
                await self._passed.wait_for(over)

    async def retry(self, revision: str) -> None:
        """Start at once what waits out a backoff, and try again what a rollout went back from."""
        if found := self._revisions.get(revision):
            await asyncio.to_thread(self.analysis.rollouts.again, found.endpoint, revision)
        await self.target.retry(revision)


def _serving(serving: Serving) -> frozenset[str]:
    """The revisions that had traffic when this was written."""
    if not serving.active:
        return frozenset()
    rollout = serving.rollout
    return frozenset([serving.active, *((rollout.candidate, rollout.stable) if rollout else ())])
