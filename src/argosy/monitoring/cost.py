"""The ledger of cost as the platform writes it: every few seconds, what each replica was paid for since, in one
transaction with up to where that is known. A platform that is killed goes on from there.

Nothing is counted for it on the path of a request: it reads the counters of replicas and the access log of the gateway
on this machine, which says whose the requests were.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from argosy.alerting.incident import Finding
from argosy.capacity import costs
from argosy.capacity.costs import Costs, PaidRun, Share
from argosy.gateway.access_log import FIELDS
from argosy.process.repeat import repeat
from argosy.quota.lines import MOST, LoggedTokens, LogReader
from argosy.spec.cost import CostSettings
from argosy.spec.language import Price
from argosy.spec.offer import CostRow
from argosy.spec.revision import Replica, Revision
from argosy.spec.status import View
from argosy.store import costs as table
from argosy.store.costs import CostHour
from argosy.store.database import Database
from argosy.store.endpoints import Declared
from argosy.store.monitor_state import MonitorState
from argosy.store.usage import Position
from argosy.telemetry.feed import Feed

LOG = logging.getLogger(__name__)
EVERY = 5.0
"""Seconds between two readings: so much of what a process has counted is lost with it, at the most."""
BUDGETS = 60.0
"""Seconds between two looks at budgets."""
SAMPLE = 4
"""MiB of the access log that are read at once; of more, the last of it stand for all."""
LEAST_MS = 0.5
"""What a request weighs beside the milliseconds that it took, which the gateway tells as whole numbers."""
GB = 1e9


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """What the next platform goes on with."""

    costs: Costs = Costs()
    position: Position | None = None


STATE = MonitorState("cost", Saved)


class LoggedWork(msgspec.Struct, frozen=True):
    """What is read of a line of the access log."""

    endpoint: str | None = None
    revision: str | None = None
    key: str | None = None
    upstream_ms: float | None = None
    tokens: LoggedTokens | None = None


LINE = msgspec.json.Decoder(LoggedWork)
assert {*LoggedWork.__struct_fields__} <= FIELDS.keys()


class Sources(NamedTuple):
    """What the ledger asks: what the controller saw and what is declared; when runs ended, by the target's record;
    batch jobs; what a machine with a replica on it costs an hour, where somebody has launched it."""

    view: Callable[[], View]
    declared: Callable[[], Sequence[Declared]]
    revisions: Callable[[], Mapping[str, Revision]]
    ends: Callable[[], Mapping[str, tuple[Replica, float]]]
    away: Callable[[], Mapping[str, object]] = dict
    jobs: Callable[[], Sequence[PaidRun]] = tuple
    launched: Callable[[Replica], float | None] | None = None


class CostLedger:
    """The task of a platform. `log` is the access log of the gateway on this machine, if there is one; `cores` those of
    this machine; `report` is that of the incidents; `clock` gives seconds since 1970."""

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
        report: Callable[[str, str, Iterable[Finding]], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database, self._feed, self._sources, self._settings = database.create(), feed, sources, settings
        self._log, self._cores, self._region, self._report, self._clock = log, cores, region, report, clock
        self._saved: Saved | None = None
        self._seen: set[str] = set()
        self._begun = Saved(costs=Costs(at=clock()), position=_end(log) if log else None)
        self._unpriced: set[str] = set()
        self.totals: dict[tuple[str, str, str], CostRow] = {}

    @property
    def unpriced(self) -> tuple[str, ...]:
        """Endpoints of which nothing is counted, since nobody says what they cost."""
        return tuple(sorted(self._unpriced))

    async def run(self) -> None:
        """Every few seconds, until cancelled."""
        await repeat(self.read, EVERY, "the ledger of cost", LOG)

    async def read(self) -> None:
        """Attribute what was spent since the last reading. Raises Unavailable, StorageFull."""
        view, now = self._sources.view(), self._clock()
        if not view.number:
            return
        if self._saved is None:
            found = await asyncio.to_thread(STATE.get, self._database, "")
            self._saved = found if found and found.costs.marks else self._begun
        self._unpriced = set()
        priced = self._priced(view.replicas)
        counted = await self._feed.processes([replica for replica, _ in priced])
        runs = [
            msgspec.structs.replace(run, work=found.work if (found := counted.get(run.id)) else None)
            for _, run in priced
        ]
        runs += self._shared()
        runs += self._ended({run.id for run in runs}, now)
        if runs or self._saved.costs.marks:
            await asyncio.to_thread(self._book, runs, now)
        else:
            self._saved = Saved(costs=Costs(at=now), position=_end(self._log) if self._log else None)

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
            )
            found.append((each, run))
        self._unpriced |= unpriced
        return found

    def _price(self, replica: Replica, revision: Revision, declared: Declared | None) -> float:
        """Dollars an hour: of its machine, as its endpoint declares it, or by what it takes of this machine."""
        if self._sources.launched and (launched := self._sources.launched(replica)) is not None:
            return launched
        hourly = getattr(declared.endpoint.replicas, "hourly", 0.0) if declared else 0.0
        return hourly or price_of(revision, self._settings, self._cores)

    def _shared(self) -> list[PaidRun]:
        """What all endpoints share, by declared shares; the rest is nobody's."""
        settings, now = self._settings, self._clock()
        jobs = [each for each in self._sources.jobs() if each.price]
        whole = sum(settings.shares.values())
        shares = {name: share / max(whole, 1.0) for name, share in settings.shares.items()}
        if whole < 1:
            shares[""] = 1 - whole
        return jobs + [
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

    def _ended(self, there: set[str], now: float) -> list[PaidRun]:
        """Runs that are gone, those too that were never seen. Of one that ended while no platform looked it is known
        until when it was seen."""
        assert self._saved is not None
        state, ends = self._saved.costs, self._sources.ends()
        gone = {name: mark.run for name, mark in state.marks.items() if name not in there}
        if self._sources.away():
            gone = {name: run for name, run in gone.items() if name in ends or run.whole}
        unseen = [at[0] for name, at in ends.items() if at[1] > state.at and name not in state.marks]
        found = [(run, min(ends[run.id][1], now)) for _, run in self._priced(unseen)]
        for name, run in gone.items():
            last = now if name in self._seen else state.marks[name].until
            found.append((run, min(ends[name][1], now) if name in ends else last))
        self._seen = there | (self._seen & state.marks.keys())
        return [msgspec.structs.replace(run, work=None, ended=at) for run, at in found]

    def _book(self, runs: Sequence[PaidRun], now: float) -> None:
        assert self._saved is not None
        shares, position = self._shares()
        rows, state = costs.step(self._saved.costs, runs, shares, now, self._region)
        over, state = costs.closed(state)
        saved = Saved(costs=state, position=position)
        with self._database.begin() as connection:
            table.add(connection, rows)
            for hour, (billed, tally) in sorted(over.items()):
                closing = _closing(connection, hour, billed, tally)
                table.close(connection, closing)
                if closing.problem:
                    LOG.error("the costs of the hour %s do not agree: %s", _stamp(hour), closing.problem)
            STATE.put(connection, "", saved)
        self._saved = saved
        for row in table.merged(msgspec.structs.replace(each, hour=0, key="", region="") for each in rows):
            place = row.endpoint, row.version, row.use
            there = self.totals.get(place)
            self.totals[place] = table.merged([there, row])[0] if there else row

    def _shares(self) -> tuple[costs.Shares, Position | None]:
        """Whose requests have ended since the last reading."""
        assert self._saved is not None
        position = self._saved.position
        if self._log is None or position is None:
            return {}, None
        prices = {each.endpoint.name: each.endpoint.price for each in self._sources.declared()}
        found: dict[tuple[str, str], dict[str, Share]] = {}
        scale = 1.0
        with contextlib.suppress(OSError):
            position, scale = _sampled(self._log, position)
            reader = LogReader(self._log, position)
            for _ in range(SAMPLE + 1):
                after, lines = reader.read()
                if after == reader.position:
                    break
                reader.position = position = after
                for line in lines:
                    with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
                        _count(LINE.decode(line), prices, found)
        versions = self._sources.revisions()
        return {
            (endpoint, f"{of.model}:{of.version}"): {key: _scaled(each, scale) for key, each in keys.items()}
            for (endpoint, revision), keys in found.items()
            if endpoint not in self._unpriced and (of := versions.get(revision))
        }, position


def price_of(revision: Revision, settings: CostSettings, cores: int) -> float:
    """What a replica costs an hour by what it takes of a machine, in dollars."""
    takes = revision.resources
    core = settings.core + settings.watts * settings.tariff / 1000 / max(cores, 1)
    used = takes.cpu or revision.runtime.threads or 1
    return core * used + settings.memory * takes.memory / GB + settings.gpu * takes.gpu


def _scaled(share: Share, scale: float) -> Share:
    counts = {"requests": round(scale * share.requests), "tokens": round(scale * share.tokens)}
    return msgspec.structs.replace(share, **counts) if scale != 1 else share


def _count(
    line: LoggedWork, prices: Mapping[str, Price | None], found: dict[tuple[str, str], dict[str, Share]]
) -> None:
    """Add a request. One that reached no replica has no revision."""
    if not line.endpoint or not line.revision:
        return
    weight, used = (line.upstream_ms or 0.0) + LEAST_MS, 0
    if (tokens := line.tokens) is not None:
        asked, cached, output = (int(each or 0) for each in (tokens.input, tokens.cached, tokens.output))
        price, used = prices.get(line.endpoint), asked + output
        weight = price.of(asked, min(cached, asked), output) if price else float(used - min(cached, asked))
    keys = found.setdefault((line.endpoint, line.revision), {})
    before = keys.get(line.key or "", Share())
    keys[line.key or ""] = Share(
        weight=before.weight + weight,
        requests=before.requests + 1,
        tokens=before.tokens + used,
    )


def _end(log: Path) -> Position:
    try:
        now = log.stat()
    except OSError:
        return Position(str(log))
    return Position(str(log), now.st_ino, now.st_size)


def _sampled(log: Path, position: Position) -> tuple[Position, float]:
    """From where to read, and for how many requests each stands that is read."""
    now = log.stat()
    left, most = now.st_size - position.offset, SAMPLE * MOST
    if now.st_ino != position.inode or left <= most:
        return position, 1.0
    return Position(position.log, position.inode, now.st_size - most), left / most


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


def _stamp(hour: int) -> str:
    return datetime.fromtimestamp(hour, UTC).strftime("%Y-%m-%dT%H:00Z")
