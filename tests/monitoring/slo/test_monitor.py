"""The task that watches over objectives, with a gateway and replicas that count what the test says."""

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from argosy.gateway.traffic import Traffic
from argosy.monitoring.slo import monitor
from argosy.monitoring.slo.monitor import SAVED, Slos
from argosy.serving.counts import Counts, bucket
from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import StorageFull, Unavailable
from argosy.spec.slo import Slo
from argosy.spec.status import View
from argosy.store import findings
from argosy.store.database import Database
from argosy.store.endpoints import Declared, Progress, Serving
from argosy.store.monitor_state import monitor_state_table
from argosy.telemetry.counters import ProcessCounts
from tests.monitoring.slo.kit import replica, status


class World:
    """One endpoint `digits`, whose revision is `r1`."""

    def __init__(self, database: Database, monkeypatch) -> None:
        self.database, self.now = database, 3600.0 * 1000 + 10
        self.slos = (Slo(objective=0.99), Slo(name="latency", objective=0.9, latency=0.1))
        self.traffic: dict[tuple[str, str], Traffic] | None = {}
        self.inside: dict[str, ProcessCounts | None] = {}
        self.reports: list[tuple[str, list[str]]] = []
        self.serving, self.there = Serving(active="r1"), True
        self.again()

    async def processes(self, replicas):
        return {each.run: self.inside.get(each.revision) for each in replicas}

    def again(self) -> None:
        """As after a restart of the controller."""
        feed: Any = SimpleNamespace(traffic=self.stats, processes=self.processes)
        self.task = Slos(self.database, feed, self.declared, self.view, self.report, clock=lambda: self.now)

    async def stats(self):
        if self.traffic is None:
            raise Unavailable("the gateway does not tell")
        return self.traffic

    def declared(self):
        endpoint = Endpoint(name="digits", model="digits:1", slos=self.slos)
        one = Declared(endpoint=endpoint, revision="r1", serving=self.serving, generation=1, created="", updated="")
        return [one] if self.there else []

    def view(self) -> View:
        return View(endpoints={"digits": status(self.slos)}, replicas=(replica("r1"),))

    def report(self, source, endpoint, found) -> None:
        self.reports.append((endpoint, [f"{each.subject}: {each.severity}" for each in found]))

    async def step(self, requests=0, errors=0, slow=0, seconds=5.0) -> None:
        """So many more requests, errors and slow answers, then a look."""
        self.now += seconds
        was = (self.traffic or {}).get(("digits", "r1"), Traffic())
        self.traffic = {
            ("digits", "r1"): Traffic(completed=was.completed + requests, errors=was.errors + errors),
            ("fraud", "r9"): Traffic(completed=5000, errors=5000),
        }
        before = self.inside.get("r1")
        late = (before.counts.latency.get(bucket(1.0), 0) if before else 0) + slow
        self.inside["r1"] = ProcessCounts(
            0.0, Counts(requests=self.traffic["digits", "r1"].completed, latency={bucket(1.0): late})
        )
        await self.task.evaluate()

    def budgets(self) -> dict[str, tuple[float, str]]:
        return {each.name: (round(each.budget, 2), each.severity) for each in self.task.statuses("digits")}


@pytest.fixture
def world(database, monkeypatch) -> World:
    return World(database, monkeypatch)


async def test_burning_is_reported_and_calm_is_too(world):
    await world.step(1000, 1000)
    assert world.budgets() == {"availability": (1.0, ""), "latency": (1.0, "")}
    await world.step(1000, 0, 20)
    assert world.budgets() == {"availability": (1.0, ""), "latency": (0.8, "")}
    assert world.reports[-1] == ("digits", [])
    await world.step(400, 400)
    assert world.budgets()["availability"][1] == "page"
    assert world.reports[-1] == ("digits", ["availability: page", "latency: ticket"])
    assert world.task.statuses("fraud") == ()


async def test_what_came_while_no_controller_ran_counts(world):
    await world.step()
    await world.step(100)
    world.again()
    await world.step(300, 300, seconds=500)
    assert world.budgets()["availability"] == (-74.0, "page")


async def test_budgets_outlive_a_restart_of_everything(world):
    await world.step()
    await world.step(1000, 5, seconds=SAVED)
    assert world.budgets()["availability"][0] == 0.5
    world.again()
    world.traffic, world.inside = {}, {}
    await world.step(1)
    await world.step(999)
    assert world.budgets()["availability"][0] == 0.75


async def test_a_gateway_that_does_not_tell_is_made_up_for(world):
    await world.step()
    known, world.traffic = world.traffic, None
    with pytest.raises(Unavailable):
        await world.task.evaluate()
    world.traffic = known
    await world.step(100, 100)
    assert world.budgets()["availability"][1] == "page"


async def test_copies_in_the_shadow_are_no_requests(world):
    shadow = Progress(number=1, candidate="r2", stable="r1", held=1, phase="shadowing")
    world.serving = Serving(active="r1", rollout=shadow)
    await world.step()
    world.traffic = world.traffic | {("digits", "r2"): Traffic(completed=90, errors=90)}
    await world.task.evaluate()
    assert world.budgets()["availability"] == (1.0, "")


async def test_an_endpoint_without_objectives_is_told_to_be_well_and_forgotten(world):
    await world.step()
    await world.step(100, 100)
    assert monitor.STATES.endpoints(world.database) == {"digits"}
    world.there = False
    await world.step()
    assert world.reports[-1] == ("digits", [])
    assert monitor.STATES.all(world.database) == {}
    assert world.task.statuses("digits") == ()


async def test_hours_are_noted_as_findings(world):
    await world.step()
    await world.step(1000, 5)
    await world.step(seconds=3600)
    await world.step(seconds=3600)
    found = findings.read(world.database, "digits", ("slo",), 0)
    first = next(each for each in found if each.subject == "availability")
    assert (first.version, first.rows, round(first.effect or 0, 6), first.detail["bad"]) == ("1", 1000, 0.5, 5)
    assert first.window_end - first.window_start == 3600
    assert len(found) == 4


async def test_a_full_disk_stops_no_watch(world, monkeypatch, caplog):
    def full(*_, **__):
        raise StorageFull("no space")

    monkeypatch.setattr(monitor.STATES, "put", full)
    await world.step()
    await world.step(100, 100)
    assert world.reports[-1][1] == ["availability: page", "latency: page"]
    assert "written with the next evaluation" in caplog.text
    monkeypatch.undo()


def test_a_row_that_cannot_be_read_begins_anew(world, caplog):
    with world.database.begin() as connection:
        row = {"monitor": "slo", "endpoint": "digits", "subject": "", "body": b"{", "updated": 0.0}
        connection.execute(monitor_state_table.insert().values(row))
    assert monitor.STATES.all(world.database) == {}
    world.again()
    assert "cannot be read" in caplog.text


def test_a_course_of_months_stays_small():
    from argosy.monitoring.slo import policy

    state = policy.SloState()
    for hour in range(40 * 24):
        seen = policy.SloObservation(now=hour * 3600.0, seconds=5.0, total=1000, bad=1)
        _, state = policy.evaluate(Slo(), seen, state)
    assert len(msgspec.json.encode(state)) < 50_000
