"""The platform that holds the plan: it gives each region what that is to have, again and again, and reads how it is.

All that it knows is declared or said by the regions, so that one that starts anew, elsewhere or an hour later, goes on.
A region that is not heard keeps what it has.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from argosy.alerting.incident import Finding
from argosy.process.repeat import repeat
from argosy.regions import plan
from argosy.regions.budgets import Budgets, Spends
from argosy.regions.peers import Ranks
from argosy.regions.wire import PlacedEndpoint, RegionEndpoint, RegionOrder, RegionReport, reported
from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import ArgosyError, InvalidArgument
from argosy.spec.region import Peer
from argosy.spec.status import EndpointStatus
from argosy.store.keys import KeyRecord
from argosy.store.ledger import Cause
from argosy.store.regions import Placements, Region, RegionStore

LOG = logging.getLogger(__name__)
EVERY = 2.0
"""Seconds between two orders to a region."""
PATIENCE = 15.0
"""Seconds for an answer."""
FRESH = 10.0
"""Seconds for which an answer tells what keys have used."""
SILENT = 60.0
"""Seconds without an answer after which a region is an incident of its endpoints."""
AGAIN = 60.0
"""Seconds after which a package is sent again."""


class RegionLink(Protocol):
    """The way to a region. Each call may block, and raises the errors of the control API."""

    def report(self) -> RegionReport:
        """How it is."""
        ...

    def order(self, order: RegionOrder) -> RegionReport:
        """Give it an order."""
        ...

    def send(self, ref: str, digest: str) -> None:
        """Send it a package."""
        ...

    def leave(self, holder: str) -> None:
        """Take back all that it was given."""
        ...


class Here(Protocol):
    """What the platform of the holder knows."""

    def declared(self) -> Sequence[tuple[PlacedEndpoint, int]]:
        """Endpoints that are declared for regions, with the generations of the declarations."""
        ...

    def keys(self) -> Iterable[KeyRecord]:
        """All API keys."""
        ...

    def spent(self, keys: Iterable[str]) -> Spends:
        """What these keys have used here of each limit."""
        ...

    def status(self) -> Mapping[str, EndpointStatus]:
        """Endpoints of this platform, by name."""
        ...

    def gateway(self) -> str:
        """Where clients reach the gateway here; empty where that is not known."""
        ...

    def hourly(self) -> Mapping[str, float]:
        """What the replicas of each endpoint here cost an hour, in dollars."""
        ...


class RegionState(msgspec.Struct, kw_only=True):
    """What is known of a region: when it was heard (seconds since 1970), what is wrong with it, and why packages could
    not be sent, which is tried `again` then."""

    heard: float = 0.0
    problem: str = ""
    report: RegionReport | None = None
    skew: float = 0.0
    unsent: dict[str, str] = {}
    again: float = 0.0


class Holder:
    """`own` is the region that the platform is itself; empty: none. `changed` is called where what it has itself
    changes."""

    def __init__(
        self,
        store: RegionStore,
        here: Here,
        link: Callable[[Region], RegionLink],
        *,
        own: str,
        token: str,
        holder: str,
        term: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store, self.own, self.holder = store, own, holder
        self._here, self._link, self._token, self._term, self._clock = here, link, token, term, clock
        self.changed: Callable[[], None] = lambda: None
        self.tell: Callable[[str, str, Iterable[Finding]], object] = lambda source, endpoint, found: None
        self._found: dict[str, list[Finding]] = {}
        self.begun = clock()
        self.states: dict[str, RegionState] = {}
        self._ranks = Ranks()
        self.regions: dict[str, Region] = {}
        self.placements: Placements = {}
        self.draining: set[str] = set()
        self.peers: tuple[Peer, ...] = ()
        self._reports: plan.Reports = {}
        self.budgets = Budgets(store, own, clock)
        self._giving: dict[str, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()

    def load(self) -> None:
        """Read what is declared of regions."""
        every = self.store.every()
        self.draining = {each.name for each in every if each.draining}
        self.regions = {each.name: each for each in every if each.url}
        self.placements = self.store.placements()

    def wake(self) -> None:
        """Give orders now."""
        self._wake.set()

    def check(self, endpoint: Endpoint) -> None:
        """Raises InvalidArgument for regions that are not there."""
        known = {*self.regions, *filter(None, (self.own,))}
        if unknown := [each for each in endpoint.regions if each not in known]:
            raise InvalidArgument(
                f"endpoint '{endpoint.name}': there is no region '{unknown[0]}'; there are "
                f"{', '.join(sorted(known)) or 'none: argosy regions add'}"
            )

    def own_part(self, endpoint: Endpoint) -> Endpoint:
        """What this platform has of an endpoint."""
        if not endpoint.regions:
            return endpoint
        draining = self.draining
        many = plan.replicas(endpoint, self.own, self.placements, draining)
        if self.own in draining and plan.drained(endpoint, self.own, self.placements, draining, self._reports):
            many = 0
        return endpoint if many == endpoint.replicas else msgspec.structs.replace(endpoint, replicas=many)

    def given_up(self, region: str) -> bool:
        """Whether a region that drains has given up its replicas."""
        found = self._reports.get(region)
        placed = [each.placed for each in found.values()] if found is not None else []
        drains = region in self.draining and found is not None
        return drains and all(each is not None and each.endpoint.replicas == 0 for each in placed)

    async def vacate(self, hosts: Collection[str]) -> dict[str, int]:
        """Have regions whose platforms are at these hosts drain; how many of each have not given up their replicas."""
        there = dict.fromkeys(hosts, 0)
        for region in self.regions.values():
            if (host := urlsplit(region.url).hostname or "") in there:
                if region.name not in self.draining:
                    cause = Cause(reason="its machine will go")
                    await asyncio.to_thread(self.store.drain, region.name, True, cause)
                    await asyncio.to_thread(self.load)
                    self.changed()
                there[host] += not self.given_up(region.name)
        return there

    async def run(self) -> None:
        """Orders, until cancelled."""
        try:
            await repeat(self.step, EVERY, "a pass over the regions", LOG, self._wake)
        finally:
            for each in self._giving.values():
                each.cancel()

    async def step(self) -> None:
        """One order to each region that has answered the one before. A region that is slow delays no other."""
        await asyncio.to_thread(self.load)
        for gone in self.states.keys() - self.regions.keys():
            del self.states[gone]
        if not self.regions and not self.budgets.divided:
            self._tell(())
            await asyncio.to_thread(self._report, ())
            return
        found = await asyncio.to_thread(self._here.declared)
        declared = [each for each, _ in found]
        keys = tuple(await asyncio.to_thread(lambda: tuple(self._here.keys())))
        await asyncio.to_thread(self._report, declared)
        self._reports = reports = self._read({each.endpoint.name: (each, at) for each, at in found})
        await asyncio.to_thread(self._divide, keys, declared)
        gateways = await asyncio.to_thread(self.gateways, declared)
        tokens = {name: each.token for name, each in self.regions.items()} | {self.own: self._token}
        self._tell(plan.peers(gateways, tokens, self.own))
        for name, region in self.regions.items():
            if name not in self._giving:
                theirs = plan.peers(gateways, tokens, name)
                self._giving[name] = asyncio.create_task(self._give(region, declared, keys, reports, theirs))
        done, _ = await asyncio.wait(self._giving.values(), timeout=EVERY) if self._giving else ((), ())
        self._giving = {name: task for name, task in self._giving.items() if task not in done}
        for task in done:
            task.result()

    def _report(self, declared: Iterable[PlacedEndpoint]) -> None:
        """Say what is wrong with endpoints in their regions, where that has changed."""
        found = {each.endpoint.name: [*self._wrong(each.endpoint)] for each in declared}
        for name, each in ({one: list[Finding]() for one in self._found} | found).items():
            if each != self._found.get(name):
                self.tell("regions", name, each)
        self._found = found

    def _wrong(self, endpoint: Endpoint) -> Iterator[Finding]:
        for region in endpoint.regions:
            state = self.states.get(region, RegionState())
            at = state.report.endpoints.get(endpoint.name) if state.report else None
            about = {"endpoint": endpoint.name, "kind": "region", "subject": region}
            if state.problem and self._clock() - max(state.heard, self.begun) > SILENT:
                title = f"region {region} is not heard"
                yield Finding(**about, severity="page", title=title, reason=state.problem)
            elif at is not None and at.problem:
                title = f"{endpoint.name} is not as declared in region {region}"
                yield Finding(**about, severity="ticket", title=title, reason=at.problem)

    def _divide(self, keys: Iterable[KeyRecord], declared: Iterable[PlacedEndpoint]) -> None:
        """Give each region its share of the limits of keys that open endpoints of regions."""
        names = {each: {one.endpoint.name for one in declared if each in one.endpoint.regions} for each in self.regions}
        every = set[str]().union(*names.values())
        good = (each for each in keys if each.revoked is None)
        shared = [each for each in good if any(map(each.covers, every)) or self.budgets.divides(each.id)]
        placed = {
            each.id: (self.own, *(at for at, known in names.items() if any(map(each.covers, known)))) for each in shared
        }
        spent: dict[str, Spends] = {
            name: each.report.spent
            for name, each in self.states.items()
            if each.report is not None
            and not each.problem
            and name not in self._giving  # else what it answers may be about an earlier share
            and self._clock() - each.heard < FRESH
        }
        spent[self.own] = self._here.spent([each.id for each in shared if each.limits is not None])
        heard = {name: each.heard for name, each in self.states.items()} | {self.own: self._clock()}
        before = self.budgets.of(self.own, shared)
        self.budgets.update(shared, placed, spent, heard)
        if self.budgets.of(self.own, shared) != before:
            self.changed()

    def _tell(self, peers: tuple[Peer, ...]) -> None:
        if peers != self.peers:
            self.peers = peers
            self.changed()

    async def _give(
        self,
        region: Region,
        declared: Sequence[PlacedEndpoint],
        keys: Sequence[KeyRecord],
        reports: plan.Reports,
        peers: tuple[Peer, ...],
    ) -> None:
        state = self.states.setdefault(region.name, RegionState())
        try:
            link = self._link(region)
            if state.report is None:
                await self._note(region, state, link.report)
                self.wake()
                return
            order = self._order(region.name, declared, keys, reports, peers)
            await self._note(region, state, lambda: link.order(order))
            await self._send(link, state)
        except ArgosyError as error:
            if state.problem != error.message:
                LOG.warning("region %s: %s", region.name, error.message)
            state.problem = error.message

    async def _send(self, link: RegionLink, state: RegionState) -> None:
        """Send the packages that a region lacks; one that could not be sent is tried again a minute later."""
        missing = state.report.missing if state.report else {}
        state.unsent = {ref: each for ref, each in state.unsent.items() if ref in missing}
        for ref, digest in missing.items():
            if ref in state.unsent and self._clock() < state.again:
                continue
            try:
                await asyncio.to_thread(link.send, ref, digest)
                state.unsent.pop(ref, None)
                self.wake()
            except ArgosyError as error:
                state.unsent[ref], state.again = error.message, self._clock() + AGAIN

    async def _note(self, region: Region, state: RegionState, ask: Callable[[], RegionReport]) -> None:
        began = self._clock()
        report = await asyncio.to_thread(ask)
        check_report(report, region.name, self.holder)
        now = self._clock()
        state.report, state.heard, state.problem = report, now, ""
        state.skew = report.now - (began + now) / 2

    def _order(
        self,
        region: str,
        declared: Iterable[PlacedEndpoint],
        keys: Iterable[KeyRecord],
        reports: plan.Reports,
        peers: tuple[Peer, ...],
    ) -> RegionOrder:
        parts = [plan.placed(each, region, self.own, self.placements, self.draining, reports) for each in declared]
        found = sorted(filter(None, parts), key=lambda each: (bool(each.endpoint.shares), each.endpoint.name))
        names = {each.endpoint.name for each in found}
        return RegionOrder(
            holder=self.holder,
            term=self._term,
            region=region,
            endpoints=tuple(found),
            keys=plan.keys(self.budgets.of(region, keys), names),
            peers=peers,
        )

    def _read(self, declared: Mapping[str, tuple[PlacedEndpoint, int]]) -> plan.Reports:
        """What all regions said last, this one among them. Nothing is settled in one that is not heard, or where the
        declaration is younger than its status."""
        found: dict[str, Mapping[str, RegionEndpoint]] = {}
        for name, each in self.states.items():
            if each.report is not None:
                lost = each.problem or self._clock() - each.heard > PATIENCE
                ends = each.report.endpoints
                found[name] = (
                    {key: msgspec.structs.replace(one, settled=False) for key, one in ends.items()} if lost else ends
                )
        mine = self._here.status()
        found[self.own] = {
            name: reported(mine[name], self._mine(each), at) for name, (each, at) in declared.items() if name in mine
        }
        return found

    def _mine(self, each: PlacedEndpoint) -> PlacedEndpoint:
        return msgspec.structs.replace(each, endpoint=self.own_part(each.endpoint))

    def gateways(self, declared: Iterable[PlacedEndpoint]) -> dict[str, Peer]:
        """The gateways of all regions whose address is known, as peers without a secret."""
        found = dict[str, Peer | None]()
        for name, each in self.states.items():
            if each.report is not None and each.report.gateway:
                found[name] = self._ranks.of(name, each.report, self.regions[name].url)
        if self.own and (url := self._here.gateway()):
            status, hourly = self._here.status(), self._here.hourly()
            mine = {
                each.endpoint.name: RegionEndpoint(placed=each, ready=at.ready, hourly=hourly.get(at.name, 0.0))
                for each in declared
                if self.own in each.endpoint.regions and (at := status.get(each.endpoint.name))
            }
            report = RegionReport(region=self.own, version="", now=0.0, gateway=url, endpoints=mine)
            found[self.own] = self._ranks.of(self.own, report, url)
        return {name: peer for name, peer in found.items() if peer}

    async def greet(self, region: Region) -> RegionReport:
        """How a region is that is to be added. Raises Conflict where it is another one, or another platform holds
        it."""
        report = await asyncio.to_thread(self._link(region).report)
        check_report(report, region.name, self.holder)
        return report

    async def leave(self, region: Region) -> None:
        """Take back all that a region was given."""
        await asyncio.to_thread(self._link(region).leave, self.holder)


def check_report(report: RegionReport, name: str, holder: str) -> None:
    """Raises InvalidArgument where it is another region, or one of another holder."""
    if report.region != name:
        what = f"calls itself '{report.region}'" if report.region else "has no name: start it with  argosy up --region"
        raise InvalidArgument(f"the platform there {what}, not '{name}'")
    if report.holder not in ("", holder):
        raise InvalidArgument(
            f"another platform ({report.holder}) holds region '{name}': remove it there first, or run "
            f"argosy regions leave  in it"
        )
