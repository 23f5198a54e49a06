"""The ledger of cost as the platform writes it, with a view, counters and a log that are made up."""

import json
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from argosy.monitoring.cost import EVERY, CostLedger, Sources
from argosy.monitoring.requesters import SAMPLE, end_of, requesters
from argosy.quota.lines import MOST
from argosy.serving.counts import Counts, Work
from argosy.spec.address import Address
from argosy.spec.batch import BatchJob, Submission
from argosy.spec.cost import CostSettings, EndpointCost
from argosy.spec.endpoint import DeclaredKey, Endpoint, Resources
from argosy.spec.errors import InvalidArgument, Unavailable
from argosy.spec.language import Price
from argosy.spec.offer import Launch, Offer
from argosy.spec.revision import Replica, Revision
from argosy.spec.scaling import Scaling
from argosy.spec.status import View
from argosy.spec.supply import ProviderPromise
from argosy.store import costs, jobs
from argosy.store.database import Database
from argosy.store.endpoints import Declared, Serving
from argosy.store.jobs import Job, Run
from argosy.store.ledger import Cause
from argosy.telemetry.counters import ProcessCounts

START = 1_767_225_600.0


class World:
    """One endpoint, and a ledger that can be begun again."""

    def __init__(self, path, settings=None, **more):
        self.database = Database(path / "t.db").create()
        self.log = path / "access.log"
        self.now, self.work, self.replicas, self.ends = START, {}, {}, {}
        self.settings = settings or CostSettings(core=3600.0)
        self.declared: Any = {"replicas": 1, **more.pop("declared", {})}
        self.away, self.machines, self.reports = {}, [], {}
        self.promises = more.pop("promises", {})
        self.revision = Revision(
            id="a", endpoint="digits", model="digits", version="1", digest="d", resources=Resources(cpu=2)
        )
        self.begin()

    def begin(self):
        declared = Declared(
            endpoint=Endpoint(name="digits", model="digits:1", **self.declared),
            revision="a",
            serving=Serving(active="a"),
            generation=1,
            created="",
            updated="",
        )
        sources = Sources(
            view=lambda: View(number=1, replicas=tuple(self.replicas.values())),
            declared=lambda: [declared],
            revisions=lambda: {"a": self.revision},
            ends=lambda: self.ends,
            away=lambda: self.away,
            machines=lambda: self.machines,
            keys=lambda: {"k1": "team-a"},
        )
        feed: Any = SimpleNamespace(processes=self.processes)
        self.ledger = CostLedger(
            self.database,
            feed,
            sources,
            self.settings,
            log=self.log,
            cores=4,
            promises=self.promises,
            report=lambda source, endpoint, found: self.reports.update({endpoint: list(found)}),
            clock=lambda: self.now,
        )

    async def processes(self, replicas):
        return {
            each.run: ProcessCounts(each.started, Counts(), work) if (work := self.work.get(each.id)) else None
            for each in replicas
        }

    def add(self, name="digits-a-0", phase: Any = "ready", engine=0.0, host="127.0.0.1"):
        there = self.replicas.get(name)
        started = there.started if there else self.now
        http = Address(host=host, port=1)
        self.replicas[name] = Replica(id=name, endpoint="digits", revision="a", phase=phase, http=http, started=started)
        self.work[name] = Work(engine=engine, answered=1)

    async def after(self, seconds=EVERY):
        self.now += seconds
        await self.ledger.read()

    def rows(self):
        return {
            (row.endpoint, row.use, row.key): round(row.cost, 3)
            for row in costs.read(self.database, 0, 2**40)
            if abs(row.cost) > 1e-9
        }

    def write(self, *lines):
        with self.log.open("a") as file:
            file.writelines(json.dumps({"endpoint": "digits", "revision": "a", **each}) + "\n" for each in lines)


@pytest.fixture
def make(tmp_path):
    made = []

    def make(**more):
        made.append(World(tmp_path, **more))
        return made[-1]

    yield make
    for each in made:
        each.database.close()


async def test_a_platform_that_is_killed_goes_on_where_it_was(make):
    world = make()
    world.add(phase="starting")
    await world.after()
    world.add(engine=1.0)
    await world.after()
    world.add(engine=3.0)
    world.write({"key": "k1", "upstream_ms": 3}, {"key": None, "upstream_ms": 0}, {"key": "k2", "revision": None})
    world.begin()
    await world.after(30.0)
    assert sum(world.rows().values()) == pytest.approx(2 * 40.0)
    assert world.rows() == {
        ("digits", "startup", ""): 10.0 + 8.0,
        ("digits", "requests", "k1"): 5.25,
        ("digits", "requests", ""): 0.75,
        ("digits", "idle", ""): 56.0,
    }


async def test_ends_are_the_targets_and_one_that_nobody_saw_is_thought_of(make):
    world = make()
    for name in ("digits-a-0", "digits-a-1"):
        world.add(name)
    await world.after()
    gone = world.replicas.pop("digits-a-0")
    world.ends[gone.run] = gone, world.now + 1.0
    short = msgspec.structs.replace(gone, started=world.now + 2.0)
    world.ends[short.run] = short, world.now + 3.5
    await world.after()
    assert sum(world.rows().values()) == pytest.approx(2 * (5 + 1 + 1.5 + 10))
    world.replicas.clear()
    world.ends.clear()
    world.begin()
    await world.after(4.0)
    assert sum(world.rows().values()) == pytest.approx(2 * (17.5 + 2.0))
    await world.after()
    assert sum(world.rows().values()) == pytest.approx(2 * (17.5 + 2.0))


async def test_what_runs_at_a_place_that_is_away_is_waited_for(make):
    world = make()
    world.add()
    await world.after()
    there, world.away = world.replicas.pop("digits-a-0"), {"kubernetes": "why"}
    await world.after(50.0)
    assert sum(world.rows().values()) == pytest.approx(10.0)
    world.away, world.replicas = {}, {there.id: there}
    await world.after()
    assert sum(world.rows().values()) == pytest.approx(2 * 60.0)


async def test_without_a_price_nothing_is_counted_and_that_is_said(make):
    world = make(settings=CostSettings())
    world.add()
    await world.after()
    assert (world.rows(), world.ledger.unpriced) == ({}, ("digits",))


@pytest.mark.parametrize(
    ("settings", "replicas", "price"),
    [
        (CostSettings(core=1.0, memory=1.0, gpu=1.0), 1, 2.0),
        (CostSettings(watts=200.0, tariff=0.4), 1, 2 * 0.02),
        (CostSettings(core=1.0), Scaling(hourly=7.0), 7.0),
    ],
)
async def test_prices_are_declared(make, settings, replicas, price):
    world = make(settings=settings, declared={"replicas": replicas})
    world.add()
    await world.after(3600.0)
    assert sum(row.cost for row in costs.read(world.database, 0, 2**40)) == pytest.approx(price)
    assert world.ledger.hourly == {"digits": pytest.approx(price)}


async def test_a_machine_that_was_launched_has_its_own_price_and_is_idle_without_replicas(make):
    world = make()
    offer = Offer(provider="p", region="r", instance="g6", price=1.0)
    world.machines = [
        Launch(id=name, offer=offer, asked=START, state="ready", address=at, price=3600.0, started=START)
        for name, at in (("one", "10.0.0.1:22"), ("two", "10.0.0.2"))
    ]
    world.add("digits-a-0", host="10.0.0.1")
    world.add("digits-a-1", host="10.0.0.1")
    await world.after(10.0)
    assert world.rows() == {("", "idle", ""): 10.0, ("digits", "startup", ""): 10.0}


async def test_what_a_provider_gives_back_is_a_row_of_the_hour_and_no_price_of_time(make):
    world = make(promises={"p": ProviderPromise(available=0.95)})
    offer = Offer(provider="p", region="eu", instance="m", price=1.0)
    launch = Launch(id="one", offer=offer, asked=START, address="10.0.0.1", price=3600.0, started=START, ready=START)
    for state, seconds in (("ready", 2880.0), ("starting", 720.0), ("ready", 60.0)):
        world.machines = [msgspec.structs.replace(launch, state=state)]
        await world.after(seconds)
    (hour,) = costs.hours(world.database, 0, 2**40)
    assert (hour.booked, hour.billed, hour.problem) == (pytest.approx(3600.0), pytest.approx(3600.0), "")
    world.begin()
    await world.after(3600.0)
    credits = [row for row in costs.read(world.database, 0, 2**40) if row.use == "credit"]
    assert [(row.hour, row.version, row.cost) for row in credits] == [(START, "m", pytest.approx(-540.0))]
    assert len(costs.hours(world.database, 0, 2**40)) == 2, "in the second one it was there"


async def test_batch_jobs_pay_for_their_cores_or_by_their_price(make):
    world = make(settings=CostSettings(core=3600.0, shared={"gateway": 3600.0}, shares={"digits": 0.25}))
    for name, price, workers in (("dear", 3600.0, 1), ("wide", 0.0, 3)):
        batch = BatchJob(model="m:1", inputs=("a",), output="o", price=price, workers=workers)
        spec = msgspec.json.encode(Submission(name=name, batch=batch)).decode()
        jobs.add(world.database, Job(name=name, spec=spec, created=START), Cause(actor="a", reason=""))
    jobs.note(world.database, Run(job="dear", number=1, state="running", due=START, started=START))
    jobs.note(world.database, Run(job="wide", number=1, state="succeeded", due=START, started=START, ended=START + 4.0))
    await world.after(10.0)
    await world.after(10.0)
    await world.ledger.close()
    rows = world.rows()
    assert (rows["batch/dear", "batch", ""], rows["batch/wide", "batch", ""]) == (20.0, 12.0)
    assert (rows["digits", "shared", ""], rows["", "shared", ""]) == (2.5, 7.5)


async def test_budgets_of_endpoints_and_keys_are_watched(make):
    keys = (DeclaredKey(name="team-a", budget=50.0), DeclaredKey(name="idle", budget=1.0), DeclaredKey(id="k1"))
    declared = {"cost": EndpointCost(budget=100.0), "keys": keys}
    world = make(settings=CostSettings(core=3600.0, key_budgets={"team-a": 10.0, "idle": 1.0}), declared=declared)
    world.add()
    await world.after(45.0)
    assert [each.severity for each in world.reports["digits"]] == ["ticket"]
    world.add(engine=20.0)
    world.write({"key": "k1", "upstream_ms": 1})
    await world.after(60.0)
    assert [(each.subject, each.severity) for each in world.reports["digits"]] == [
        ("month", "page"),
        ("key-team-a-here", "ticket"),
        ("key-team-a", "page"),
    ]
    assert world.reports["digits"][1].title == "the key team-a at 'digits' spends more than its budget"


async def test_an_hour_is_closed_and_a_lost_row_is_told(make, caplog):
    world = make()
    world.add()
    for _ in range(4):
        await world.after(1000.0)
    (hour,) = costs.hours(world.database, 0, 2**40)
    assert (hour.booked, hour.billed, hour.problem) == (pytest.approx(7200.0), pytest.approx(7200.0), "")
    with world.database.begin() as connection:
        connection.execute(costs.costs_table.delete().where(costs.C.hour > START))
    for _ in range(4):
        await world.after(1000.0)
    assert "add up to" in costs.hours(world.database, 0, 2**40)[1].problem
    assert "do not agree" in caplog.text


async def test_a_database_that_is_away_costs_nothing(make, monkeypatch):
    world = make()
    world.add()
    await world.after()
    world.write({"key": "k1", "upstream_ms": 1})
    world.add(engine=2.0)
    begin = world.database.begin

    def fails():
        raise Unavailable("away")

    monkeypatch.setattr(world.database, "begin", fails)
    with pytest.raises(Unavailable):
        await world.after()
    monkeypatch.setattr(world.database, "begin", begin)
    await world.after()
    assert world.rows()["digits", "requests", "k1"] == 4.0
    assert sum(world.rows().values()) == pytest.approx(30.0)
    assert world.ledger.totals["digits", "digits:1", "requests"].requests == 1


def test_tokens_weigh_by_their_price_and_too_long_a_log_is_sampled(tmp_path):
    log = tmp_path / "log"
    begin = end_of(log)
    line = {"endpoint": "e", "revision": "r", "key": "k", "tokens": {"input": 10, "cached": 4, "output": 5}}
    log.write_text(json.dumps(line) + "\nnot json\n")
    found, position = requesters(log, begin, {"e": Price(input=1.0, output=2.0)})
    (share,) = found["e", "r"].values()
    assert (share.weight, share.requests, share.tokens) == (pytest.approx(20e-6), 1, 15)
    assert requesters(log, position, {}) == ({}, position)
    text = (json.dumps(line) + "\n").encode()
    count = 2 * SAMPLE * MOST // len(text)
    with log.open("ab") as file:
        file.write(text * count)
    found, position = requesters(log, position, {})
    assert found["e", "r"]["k"].requests == pytest.approx(count, rel=0.01)
    assert position.offset == log.stat().st_size


def test_odd_settings_are_refused():
    with pytest.raises(InvalidArgument, match=r"cost\.key_budgets.*'digits'"):
        CostSettings(key_budgets={"digits": float("nan")})
