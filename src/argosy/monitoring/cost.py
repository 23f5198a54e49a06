"""The ledger of cost as the platform writes it: every few seconds, what each replica was paid for since, in one
transaction with up to where that is known. A platform that is killed goes on from there.

Nothing is counted for it on the path of a request: it reads the counters of replicas and the access log of the gateway
on this machine, which says whose the requests were.
"""

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from argosy.alerting.incident import Finding
from argosy.capacity import costs
from argosy.capacity.costs import Costs, MachineHour, PaidRun
from argosy.monitoring.requesters import end_of, requesters
from argosy.process.repeat import repeat
from argosy.spec.batch import Submission
from argosy.spec.cost import CostSettings
from argosy.spec.errors import ArgosyError
from argosy.spec.offer import CostRow, Launch
from argosy.spec.revision import Replica, Revision
from argosy.spec.status import View
from argosy.spec.supply import ProviderPromise
from argosy.store import costs as table
from argosy.store import jobs
from argosy.store.costs import CostHour
from argosy.store.database import Database
from argosy.store.endpoints import Declared
from argosy.store.monitor_state import MonitorState
from argosy.store.usage import Position
from argosy.telemetry.feed import Feed

LOG = logging.getLogger(__name__)
EVERY = 5.0
"""Seconds between two readings: so much of what a process has counted is lost with it, at the most."""
SOON = 1.0
"""Seconds after which the end of a replica is written, so that it is not lost with the platform."""
BUDGETS = 60.0
"""Seconds between two looks at budgets."""
GB = 1e9
SOURCE, NEARLY = "budgets", 0.8


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """What the next platform goes on with."""

    costs: Costs = Costs()
    position: Position | None = None
    machines: dict[str, dict[int, MachineHour]] = {}


STATE = MonitorState("cost", Saved)


class Sources(NamedTuple):
    """What the ledger asks: what the controller saw and what is declared; when runs ended, by the target's record; the
    machines that are billed; the names of keys by id; slot-seconds lent to jobs, which may be `free` but for these."""

    view: Callable[[], View]
    declared: Callable[[], Sequence[Declared]]
    revisions: Callable[[], Mapping[str, Revision]]
    ends: Callable[[], Mapping[str, tuple[Replica, float]]]
    away: Callable[[], Mapping[str, object]] = dict
    machines: Callable[[], Sequence[Launch]] = tuple
    keys: Callable[[], Mapping[str, str]] = dict
    lent: Callable[[str], dict[str, float]] = lambda _: {}
    free: Callable[[str], bool] = lambda _: False


class CostLedger:
    """The task of a platform. `log` is the access log of the gateway on this machine, if there is one; `cores` those of
    this machine; `promises` what providers give back; `report` is that of the incidents; `clock` gives seconds since
    1970. `hourly` is what the replicas of each endpoint cost now."""

    def __init__(
        self,
        database: Database,
        feed: Feed,
        sources: Sources,
        settings: CostSettings,
        *,
        log: Path | None = None,
        cores: int = 1,
        region: str = "",
        promises: Mapping[str, ProviderPromise] = MappingProxyType({}),
        report: Callable[[str, str, Iterable[Finding]], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database, self._feed, self._sources, self._settings = database.create(), feed, sources, settings
        self._log, self._cores, self._region, self._report, self._clock = log, cores, region, report, clock
        self._promises = promises
        self._core = settings.core + settings.watts * settings.tariff / 1000 / max(cores, 1)
        self._saved: Saved | None = None
        self._seen: set[str] = set()
        self._closing, self._budgeted, self._read = False, 0.0, 0.0
        self._known: set[str] = set()
        self._machines: Sequence[Launch] = ()
        self._on = Counter[str]()
        self._begun = Saved(costs=Costs(at=clock()), position=end_of(log) if log else None)
        self._unpriced: set[str] = set()
        self.hourly: dict[str, float] = {}
        self.totals: dict[tuple[str, str, str], CostRow] = {}

    @property
    def unpriced(self) -> tuple[str, ...]:
        """Endpoints of which nothing is counted, since nobody says what they cost."""
        return tuple(sorted(self._unpriced))

    async def run(self) -> None:
        """Every few seconds, and soon after the end of a replica, until cancelled."""
        await repeat(self._turn, SOON, "the ledger of cost", LOG)

    async def _turn(self) -> None:
        if not 0 <= self._clock() - self._read < EVERY - SOON / 2 or not self._sources.ends().keys() <= self._known:
            await self.read()

    async def close(self) -> None:
        """Attribute what was spent to the end of the platform, once all of it has ended."""
        self._closing = True
        try:
            await self.read()
        except ArgosyError as error:
            LOG.warning("the last seconds are missing in the ledger of cost: %s", error.message)

    async def read(self) -> None:
        """Attribute what was spent since the last reading. Raises Unavailable, StorageFull."""
        view, now = self._sources.view(), self._clock()
        if not view.number:
            return
        if self._saved is None:
            found = await asyncio.to_thread(STATE.get, self._database, "")
            self._saved = found if found and found.costs.marks else self._begun
        self._unpriced = set()
        ends = self._sources.ends()
        known = {*ends}
        self._machines = await asyncio.to_thread(self._sources.machines)
        there = [each for each in view.replicas if each.run not in ends]
        self._on = Counter(each.http.host for each in there)
        priced = self._priced(there)
        hourly: defaultdict[str, float] = defaultdict(float)
        for _, run in priced:
            hourly[run.endpoint] += run.price
        self.hourly = dict(hourly)
        counted = await self._feed.processes([replica for replica, _ in priced])
        runs = [
            msgspec.structs.replace(run, work=found.work if (found := counted.get(run.id)) else None)
            for _, run in priced
        ]
        runs += [] if self._closing else [*self._shared(), *self._unused()]
        runs += await asyncio.to_thread(self._jobs)
        runs += self._ended({run.id for run in runs}, now)
        if runs or self._saved.costs.marks:
            await asyncio.to_thread(self._book, runs, now)
            self._read, self._known = now, known
            if now - self._budgeted >= BUDGETS:
                await asyncio.to_thread(self._budgets, now)
                self._budgeted = now
        else:
            self._read, self._known = now, known
            self._saved = Saved(costs=Costs(at=now), position=end_of(self._log) if self._log else None)

    def _priced(self, replicas: Iterable[Replica]) -> list[tuple[Replica, PaidRun]]:
        revisions, declared = self._sources.revisions(), {each.endpoint.name: each for each in self._sources.declared()}
        found: list[tuple[Replica, PaidRun]] = []
        unpriced: set[str] = set()
        for each in replicas:
            revision, endpoint = revisions.get(each.revision), declared.get(each.endpoint)
            if not each.started or revision is None:
                continue
            price = self._price(each, revision, endpoint)
            if not price:
                unpriced.add(each.endpoint)
                continue
            rollout = endpoint.serving.rollout if endpoint else None
            phase = rollout.phase if rollout and rollout.live and rollout.candidate == each.revision else ""
            run = PaidRun(
                id=each.run,
                endpoint=each.endpoint,
                version=f"{revision.model}:{revision.version}",
                price=price,
                started=each.started,
                ready=each.phase != "starting",
                testing=phase in ("starting", "shadowing", "shifting"),
                copies=phase == "shadowing",
                lent=self._sources.lent(each.run),
            )
            found.append((each, run))
        self._unpriced |= unpriced
        return found

    def _price(self, replica: Replica, revision: Revision, declared: Declared | None) -> float:
        """Dollars an hour: of its machine, as its endpoint declares it, or by what it takes of this machine."""
        for machine in self._machines:
            if machine.address and machine.address.partition(":")[0] == replica.http.host:
                return machine.price / max(self._on[replica.http.host], 1)
        hourly = getattr(declared.endpoint.replicas, "hourly", 0.0) if declared else 0.0
        return hourly or price_of(revision, self._settings, self._core)

    def price_of(self, revision: str) -> float:
        """What an hour of a replica of a revision costs by what it takes of a machine; without a price, by its
        cores."""
        found = self._sources.revisions().get(revision)
        if found is None:
            return 1.0
        return price_of(found, self._settings, self._core) or price_of(found, self._settings, 1.0)

    def _shared(self) -> list[PaidRun]:
        """What all endpoints share, by declared shares; the rest is nobody's."""
        settings, now = self._settings, self._clock()
        whole = sum(settings.shares.values())
        shares = {name: share / max(whole, 1.0) for name, share in settings.shares.items()}
        if whole < 1:
            shares[""] = 1 - whole
        return [
            PaidRun(
                id=f"shared/{name}/{endpoint}",
                endpoint=endpoint,
                version=name,
                price=hourly * share,
                started=now,
                whole="shared",
            )
            for name, hourly in settings.shared.items()
            for endpoint, share in shares.items()
            if hourly and share
        ]

    def _unused(self) -> list[PaidRun]:
        """Machines that were launched and have no replica: all of their time is idle."""
        return [
            PaidRun(
                id=f"machine/{each.id}",
                endpoint="",
                version=each.offer.instance,
                price=each.price,
                started=each.started,
                whole="idle",
            )
            for each in self._machines
            if each.started and not self._on[each.address.partition(":")[0]]
        ]

    def _jobs(self) -> list[PaidRun]:
        """Batch jobs, at the price that they declare, or for as many cores as they have workers and threads."""
        assert self._saved is not None
        found: list[PaidRun] = []
        for run in jobs.going(self._database, self._saved.costs.at):
            batch = msgspec.json.decode(jobs.get(self._database, run.job).spec, type=Submission).batch
            taken = batch.workers * max(batch.threads, 1) or self._cores
            if run.started and not self._sources.free(run.id) and (price := batch.price or self._core * taken):
                paid = PaidRun(
                    id=f"batch/{run.id}",
                    endpoint=f"batch/{run.job}",
                    version=batch.model,
                    price=price,
                    started=run.started,
                    ended=run.ended,
                    whole="batch",
                )
                found.append(paid)
        return found

    def _budgets(self, now: float) -> None:
        """Report endpoints and keys that have spent what they may, or nearly, in this month."""
        month = datetime.fromtimestamp(now, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        rows, names = table.spent(self._database, int(month.timestamp())), self._sources.keys()
        found: dict[str, list[Finding]] = {}
        for endpoint in (each.endpoint for each in self._sources.declared()):
            mine, budget = (
                [row for row in rows if row.endpoint == endpoint.name],
                endpoint.cost and endpoint.cost.budget,
            )
            found[endpoint.name] = over_budget(endpoint.name, "month", "the endpoint", mine, budget)
            for key, known in ((each, each.name or each.id) for each in endpoint.keys):
                its = [row for row in mine if row.key and known in (row.key, names.get(row.key))]
                who = f"the key {known} at '{endpoint.name}'"
                found[endpoint.name] += over_budget(endpoint.name, f"key-{known}-here", who, its, key.budget)
        for name, budget in self._settings.key_budgets.items():
            mine = [row for row in rows if row.key and names.get(row.key) == name]
            at = max((row for row in mine if row.endpoint in found), key=lambda row: row.cost, default=None)
            if at is not None:
                found[at.endpoint] += over_budget(at.endpoint, f"key-{name}", f"the key {name}", mine, budget)
        for endpoint, each in found.items():
            self._report(SOURCE, endpoint, each)

    def _ended(self, there: set[str], now: float) -> list[PaidRun]:
        """Runs that are gone, those too that were never seen. Of one that ended while no platform looked, that is
        thought to have been soon after it was seen: what ends a platform ends others."""
        assert self._saved is not None
        state, ends = self._saved.costs, self._sources.ends()
        gone = {name: mark.run for name, mark in state.marks.items() if name not in there}
        if self._sources.away():
            gone = {name: run for name, run in gone.items() if name in ends or run.whole}
        unseen = [at[0] for name, at in ends.items() if at[1] > state.at and name not in state.marks]
        found = [(run, min(ends[run.id][1], now)) for _, run in self._priced(unseen)]
        for name, run in gone.items():
            until = state.marks[name].until
            last = now if name in self._seen else until + min(now - until, EVERY) / 2
            found.append((run, min(ends[name][1], now) if name in ends else last))
        self._seen = there | (self._seen & state.marks.keys())
        return [msgspec.structs.replace(run, work=None, ended=at) for run, at in found]

    def _book(self, runs: Sequence[PaidRun], now: float) -> None:
        assert self._saved is not None
        shares, position = self._shares()
        rows, state = costs.step(self._saved.costs, runs, shares, now, self._region)
        over, state = costs.closed(state)
        known = {name: each for name, each in self._saved.machines.items() if each}
        machines = costs.attended(known, self._machines, self._saved.costs.at, now)
        saved = Saved(costs=state, position=position, machines=machines)
        with self._database.begin() as connection:
            table.add(connection, rows)
            for hour, (billed, tally) in sorted(over.items()):
                closing = _closing(connection, hour, billed, tally)
                table.close(connection, closing)
                table.add(connection, self._credits(hour, machines))
                if closing.problem:
                    LOG.error(
                        "the costs of the hour %s do not agree: %s", datetime.fromtimestamp(hour, UTC), closing.problem
                    )
            STATE.put(connection, "", saved)
        self._saved = saved
        for row in table.merged(msgspec.structs.replace(each, hour=0, key="", region="") for each in rows):
            place = row.endpoint, row.version, row.use
            there = self.totals.get(place)
            self.totals[place] = table.merged([there, row])[0] if there else row

    def _credits(self, hour: int, machines: dict[str, dict[int, MachineHour]]) -> Iterator[CostRow]:
        """What providers give back for an hour that is over; of it and those before nothing is remembered."""
        for each, found in [*machines.items()]:
            promise = self._promises.get(found[hour].provider) if hour in found else None
            if promise and (row := costs.credit(hour, found[hour], promise, self._region)).cost:
                yield row
            machines[each] = {at: one for at, one in found.items() if at > hour}

    def _shares(self) -> tuple[costs.Shares, Position | None]:
        """Whose requests have ended since the last reading, and up to where that was read."""
        assert self._saved is not None
        position, versions = self._saved.position, self._sources.revisions()
        if self._log is None or position is None:
            return {}, None
        prices = {each.endpoint.name: each.endpoint.price for each in self._sources.declared()}
        found, position = requesters(self._log, position, prices)
        return {
            (endpoint, f"{of.model}:{of.version}"): keys
            for (endpoint, revision), keys in found.items()
            if endpoint not in self._unpriced and (of := versions.get(revision))
        }, position


def price_of(revision: Revision, settings: CostSettings, core: float) -> float:
    """What a replica costs an hour by what it takes of a machine, of which a core costs so much, in dollars."""
    takes = revision.resources
    used = takes.cpu or revision.runtime.threads or 1
    return core * used + settings.memory * takes.memory / GB + settings.gpu * takes.gpu


def over_budget(endpoint: str, subject: str, who: str, rows: Iterable[CostRow], budget: float | None) -> list[Finding]:
    """What is wrong where a budget of a month is spent, or nearly; without one, nothing."""
    spent = sum(row.cost for row in rows)
    if not budget or spent < NEARLY * budget:
        return []
    return [
        Finding(
            endpoint=endpoint,
            kind="budget",
            subject=subject,
            severity="page" if spent >= budget else "ticket",
            title=f"{who} spends more than its budget",
            reason=f"{spent:.4g} of {budget:.4g} dollars of this month are spent",
        )
    ]


def _closing(connection: sa.Connection, hour: int, billed: float, tally: costs.WorkTally) -> CostHour:
    booked, used = table.sums(connection, hour)
    problem = costs.disagreement(booked, billed, used, tally.measured)
    return CostHour(
        hour=hour,
        booked=booked,
        billed=billed,
        used=used,
        measured=tally.measured,
        unread=tally.unread,
        problem=problem,
    )
