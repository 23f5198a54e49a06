"""Groups of machines that are kept ready: what shall be launched and given back, decided again and again.

All that counts stands in the database: launches are told by their ids, which begin with the group's, so that a platform
that is killed at any moment goes on from what is written down, and asks for nothing twice.
"""

import asyncio
import hashlib
import logging
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from argosy.capacity import spot
from argosy.process.repeat import repeat
from argosy.spec.errors import ArgosyError
from argosy.spec.offer import Launch, Offer
from argosy.spec.supply import MachineGroup, SupplySettings
from argosy.store import groups as store
from argosy.store import offers as known
from argosy.store.groups import GroupMachine, GroupRow
from argosy.store.ledger import Cause
from argosy.supply import learned, offers
from argosy.supply.commands import Commands
from argosy.supply.evictions import Evictions, Vacate
from argosy.supply.launcher import Launcher, hosts_of
from argosy.supply.offers import OfferQuery

LOG = logging.getLogger(__name__)
PERIOD = 5.0
SETTLED = 15.0
"""Seconds between two rounds of a provider where groups have machines there and nothing is under way."""
PAUSE = 30.0
"""Seconds until providers are asked again where none had a machine on demand."""
BACK = 3600.0
"""Seconds for which a launch that failed speaks against its offer."""
AGAIN = 60.0
"""Seconds after which an offer is tried again that has failed once; twice as many each time more."""
TRIES = 5
"""Times that a machine may fail to join."""
DEAR = 3.3
"""What a machine on demand is taken to cost, over one on spot, where none is offered."""


class Standing(NamedTuple):
    """The machines of a group: those that are `ready`, those that are not yet (`coming`), those that leave."""

    ready: list[Launch]
    coming: list[Launch]
    leaving: list[Launch]

    @property
    def counted(self) -> list[Launch]:
        """Those that are there to stay."""
        return [*self.ready, *self.coming]


class GroupStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A group as it stands: machines that are `wanted`, `ready` (of them on `spot` and `on_demand`), `coming`, and
    `leaving`; `hourly` US dollars for all of them; the `risk` that fewer than wanted are ready at the next look."""

    name: str
    market: str
    wanted: int
    ready: int
    spot: int
    on_demand: int
    coming: int
    leaving: int
    hourly: float
    risk: float | None
    reason: str


class Groups:
    """The groups of the settings, at the providers of `launcher`. All of `vacate` move replicas away from hosts."""

    def __init__(
        self,
        launcher: Launcher,
        settings: SupplySettings,
        commands: Commands,
        vacate: Sequence[Vacate] = (),
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._launcher, self._settings, self._commands = launcher, settings, commands
        self.evictions = Evictions(launcher, vacate, self.owns, clock)
        self._vacate, self._clock = vacate, clock
        self._database = launcher.launches.database
        self._empty: set[str] = set()
        self._asked: set[str] = set()
        self._sold: list[Offer] | None = None
        self._later: dict[str, float] = {}
        self._trouble: ArgosyError | None = None
        if settings.groups:
            launcher.settled = SETTLED

    def prefix(self, name: str) -> str:
        """What the ids of a group's launches begin with."""
        return self._launcher.name(_digest(name))

    def owns(self, launch: Launch) -> bool:
        """Whether a launch is of a group."""
        return any(launch.id.startswith(self.prefix(name)) for name in self.all())

    def all(self) -> dict[str, MachineGroup]:
        """The groups by name; one that is in the settings no more shall have no machines."""
        gone = dict.fromkeys(store.names(self._database), MachineGroup(machines=0))
        return gone | self._settings.groups

    async def run(self) -> None:
        """Rounds for ever."""
        try:
            await repeat(self._round, PERIOD, "the groups of machines", LOG)
        finally:
            await asyncio.to_thread(self._commands.close)

    async def _round(self) -> None:
        leaving = [hosts_of(each) for each in await asyncio.to_thread(self.turn)]
        hosts = {host for each in leaving for host in each}
        for provider in self._asked:
            self._launcher.wake(provider)
        self._asked.clear()
        if hosts or self._settings.groups:
            busy = await self.evictions.vacate(hosts)
            self._empty = {host for host in hosts if not busy.get(host)}
        await self.evictions.turn()
        if self._trouble is not None:
            raise self._trouble

    def turn(self) -> list[Launch]:
        """One round of every group. Those that leave: their replicas have to move."""
        self._sold = None
        leaving, self._trouble = list[Launch](), None
        for name, group in self.all().items():
            try:
                leaving += self._tend(name, group)
            except ArgosyError as error:  # the others go on
                self._trouble = error
        return leaving

    def status(self) -> list[GroupStatus]:
        """How every group stands."""
        found: list[GroupStatus] = []
        for name, group in sorted(self.all().items()):
            row, launches = store.group(self._database, name), self._launches(name)
            there = standing(group, launches, store.machines(self._database, [each.id for each in launches]))
            markets = [each.offer.market for each in there.ready]
            found.append(
                GroupStatus(
                    name=name,
                    market=group.market,
                    wanted=group.machines,
                    ready=len(there.ready),
                    spot=markets.count("spot"),
                    on_demand=markets.count("on_demand"),
                    coming=len(there.coming),
                    leaving=len(there.leaving),
                    hourly=sum(each.price or each.offer.price for each in (*there.counted, *there.leaving)),
                    risk=row.risk,
                    reason=row.reason,
                )
            )
        return found

    def _launches(self, name: str) -> list[Launch]:
        """Those of a group that are not over, and of the last hour."""
        return self._launcher.launches.of(self.prefix(name), self._clock() - BACK)

    def _tend(self, name: str, group: MachineGroup) -> list[Launch]:
        now, row, launches = self._clock(), store.group(self._database, name), self._launches(name)
        steps = store.machines(self._database, [each.id for each in launches])
        for each in launches:
            if each.state in ("starting", "ready"):
                steps[each.id] = self._advance(group, each, steps.get(each.id, GroupMachine(launch=each.id)), now)
        there = standing(group, launches, steps)
        before, events = row, dict[str, Mapping[str, object]]()
        if group.market == "on_demand" or not group.machines:
            row = replace(row, on_demand=group.machines, risk=None)
            self._leave(group, [each for each in there.counted if each.offer.market == "spot"], there, "not wanted")
        elif now >= row.looked + group.every or {*row.held} - {each.id for each in there.counted}:
            row, events = self._look(name, group, row, launches, there, now)
        self._fill(name, group, row, launches, there, now)
        if group.market == "on_demand":
            row = replace(row, reason=f"{len(there.ready)} of {group.machines} ready on demand")
        row = replace(row, held=tuple(each.id for each in there.counted))
        if row != before or events:
            store.put(self._database, row, events)
        return [each for each in there.leaving if each.state != "ending"]

    def _advance(self, group: MachineGroup, launch: Launch, step: GroupMachine, now: float) -> GroupMachine:
        """What is due for one machine: it joins, leaves at a notice, or is given back once nothing runs on it."""
        after = step
        if step.left is None and launch.reason:
            after = replace(step, left=now, why=launch.reason)
        elif step.left is not None:
            moved = not self._vacate or self._empty.issuperset(hosts_of(launch))
            if (moved or now - step.left >= group.drain) and self._commands.done(launch, group.leave) is not None:
                self._launcher.release(launch.id, Cause(reason=step.why))
                self._asked.add(launch.offer.provider)
        elif launch.state == "ready" and group.join and step.joined is None and now >= _again(step.tried, step.tries):
            failed = self._commands.done(launch, group.join)
            if failed == "":
                after = replace(step, joined=now)
            elif failed is not None:
                LOG.warning("%s did not join: %s", launch.id, failed)
                after = replace(step, tries=step.tries + 1, tried=now)
                if after.tries >= TRIES:
                    after = replace(after, left=now, why=f"it did not join: {failed}")
        if after != step:
            store.note(self._database, after)
        return after

    def _leave(self, group: MachineGroup, machines: Sequence[Launch], there: Standing, why: str) -> None:
        """These are wanted no more. Those that serve are drained first."""
        for each in machines:
            serves = each in there.ready
            (there.ready if serves else there.coming).remove(each)
            there.leaving.append(each)
            if serves and (self._vacate or group.leave):
                store.note(self._database, GroupMachine(launch=each.id, left=self._clock(), why=why))
            else:
                self._launcher.release(each.id, Cause(reason=why))
                self._asked.add(each.offer.provider)

    def _offers(self, group: MachineGroup, market: str) -> list[Offer]:
        """What is sold that fits, the cheapest first."""
        if self._sold is None:
            self._sold = offers.every(self._database, self._settings, self._launcher.providers.values())
        names = group.providers or tuple(self._launcher.providers)
        query = OfferQuery(gpu=group.gpu, count=group.count, region=group.region, most=100_000)
        return [
            each
            for each in offers.select(self._sold, query)
            if each.market == market
            and each.provider in names
            and (each.trusted or group.untrusted)
            and (not group.most or each.price <= group.most)
        ]

    def _look(
        self, name: str, group: MachineGroup, row: GroupRow, launches: Sequence[Launch], there: Standing, now: float
    ) -> tuple[GroupRow, dict[str, Mapping[str, object]]]:
        """Weigh what to hold on spot and what on demand; launch and give back on spot. The ledger's events with it."""
        sold, dear = self._offers(group, "spot"), self._offers(group, "on_demand")
        spots = [each for each in there.counted if each.offer.market == "spot"]
        mine = [replace(each.offer, price=each.price or each.offer.price) for each in spots]
        rows = known.learned(self._database, now - known.DAYS * 86400)
        zones = learned.zones([*sold, *mine], rows)
        price = dear[0].price if dear else DEAR * max((each.price for each in zones), default=1.0)
        hedge = spot.Hedge(zones=zones, replicas=group.machines, on_demand=price, most=group.zone, short=group.short)
        fresh = learned.state(hedge, rows, group.every)
        state = carried(row, hedge, fresh) if row.state else fresh
        places = {zone.name: place for place, zone in enumerate(zones)}
        ready, lost, refused, coming = ([0] * len(zones) for _ in range(4))
        for each in spots:
            (ready if each in there.ready else coming)[places[learned.zone_name(each.offer)]] += 1
        held = {*row.held} - {each.id for each in there.counted}
        for each in launches:
            place = places.get(learned.zone_name(each.offer))
            if each.id in held and each.offer.market == "spot" and each.reason and place is not None:
                (lost if each.started is not None else refused)[place] += 1
        seen = spot.SpotObservation(
            now=now,
            ready=tuple(ready),
            lost=tuple(lost),
            refused=tuple(each > 0 for each in refused),
            on_demand=sum(each.offer.market == "on_demand" for each in there.ready),
        )
        decision, state = spot.decide(hedge, seen, state)
        for place, zone in enumerate(zones):
            here = [each for each in spots if each in there.ready and learned.zone_name(each.offer) == zone.name]
            self._leave(group, here[len(here) - decision.stop[place] :], there, decision.reason)
            found = [each for each in sold if learned.zone_name(each) == zone.name]
            for _ in range(decision.launch[place] - coming[place]):
                self._launch(name, found, launches, there, decision.reason, hold=True)
        changed = {"launch": sum(decision.launch), "stop": sum(decision.stop), "on_demand": decision.on_demand}
        prices = {zone.name: zone.price for zone in zones}
        events: dict[str, Mapping[str, object]] = {}
        if changed["launch"] or changed["stop"] or decision.on_demand != row.on_demand:
            events["weighed"] = changed | {"lost": sum(lost), "refused": sum(refused), "risk": decision.risk}
        if row.prices and (moved := _changes(row.prices, prices)):
            events["prices"] = moved
        row = replace(row, looked=now, zones=tuple(places), prices=prices, state=msgspec.json.encode(state).decode())
        if decision.risk is not None:
            row = replace(row, on_demand=decision.on_demand, risk=decision.risk, reason=decision.reason)
        return row, events

    def _fill(
        self, name: str, group: MachineGroup, row: GroupRow, launches: Sequence[Launch], there: Standing, now: float
    ) -> None:
        """Have as many on demand as shall be."""
        own = [each for each in there.counted if each.offer.market == "on_demand"]
        surplus = sorted(own, key=lambda each: (each in there.ready, -each.price))[: max(0, len(own) - row.on_demand)]
        self._leave(group, surplus, there, "not wanted")
        missing = row.on_demand - len(own) if now >= self._later.get(name, 0.0) else 0
        sold = self._offers(group, "on_demand") if missing > 0 else []
        for _ in range(missing):
            if not self._launch(name, sold, launches, there, f"{row.on_demand} on demand are wanted"):
                self._later[name] = now + PAUSE
                break

    def _launch(
        self,
        name: str,
        sold: Sequence[Offer],
        launches: Sequence[Launch],
        there: Standing,
        why: str,
        hold: bool = False,
    ) -> bool:
        """Ask for the cheapest that did not fail lately and of which there is one left; with `hold` one that did is
        better than none. False where there is none."""
        now, failures = self._clock(), defaultdict[tuple[str, ...], list[float]](list)
        for each in launches:
            if each.ready is None and each.reason and each.ended is not None:
                failures[_key(each.offer)].append(each.ended)

        def later(offer: Offer) -> bool:
            ends = failures[_key(offer)]
            return now < _again(max(ends, default=0.0), len(ends))

        for offer in sorted(sold, key=later):
            if later(offer) and not hold:
                break
            asked = sum(each.state == "intended" and _key(each.offer) == _key(offer) for each in there.coming)
            try:
                left = self._launcher.provider(offer.provider).quota(offer)
            except ArgosyError:
                continue
            if left is None or left > asked:
                token = _digest(name) + secrets.token_hex(6)
                there.coming.append(self._launcher.request(offer, token=token, cause=Cause(reason=why)))
                self._asked.add(offer.provider)
                return True
        return False


def carried(row: GroupRow, hedge: spot.Hedge, fresh: spot.SpotState) -> spot.SpotState:
    """What a group remembers of zones, for those of `hedge`; of new ones what `fresh` knows."""
    state = msgspec.json.decode(row.state, type=spot.SpotState)
    was = {name: place for place, name in enumerate(row.zones)}
    pairs = [(place, was[zone.name]) for place, zone in enumerate(hedge.zones) if zone.name in was]
    zones = list(fresh.zones)
    for place, old in pairs:
        zones[place] = state.zones[old]
    regions = {name: state.regions.get(name, each) for name, each in fresh.regions.items()}
    watched = {place: state.watched[old] for place, old in pairs if old in state.watched}
    tried = tuple(place for place, old in pairs if old in state.tried)
    return replace(state, zones=tuple(zones), regions=regions, watched=watched, tried=tried)


def standing(group: MachineGroup, launches: Sequence[Launch], steps: Mapping[str, GroupMachine]) -> Standing:
    """The machines of a group as they are."""
    there = Standing([], [], [])
    for each in launches:
        step = steps.get(each.id, GroupMachine(launch=each.id))
        if each.state == "ending" or (each.state in ("starting", "ready") and step.left is not None):
            there.leaving.append(each)
        elif each.state == "ready" and (step.joined is not None or not group.join):
            there.ready.append(each)
        elif each.state in ("intended", "starting", "ready"):
            there.coming.append(each)
    return there


def _digest(name: str) -> str:
    return f"g{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _again(last: float, failures: int) -> float:
    """When something may be tried again that has failed so many times, last then."""
    return last + min(BACK, AGAIN * 2 ** (failures - 1)) if failures else 0.0


def _key(offer: Offer) -> tuple[str, ...]:
    return offer.provider, offer.market, offer.region, offer.zone, offer.instance


def _changes(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, tuple[float | None, float | None]]:
    """Zones whose price is another one, or that are offered now or no more."""
    return {
        name: (before.get(name), after.get(name))
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    }
