"""Incidents from reports to sinks, on a clock of the test's own and a real web server as the sink."""

import pytest

from argosy.alerting import incidents as module
from argosy.alerting import table as kept
from argosy.alerting.incident import CALM, Finding
from argosy.alerting.incidents import Incidents
from argosy.spec.alerts import Alertmanager, Slack, Webhook
from argosy.spec.errors import Conflict, InvalidArgument, StorageFull, Unavailable
from argosy.store import alerts
from argosy.store.database import Database
from argosy.store.ledger import Cause
from tests.alerting.kit import web


class World:
    """Incidents of a database; `again` is a controller that starts anew."""

    def __init__(self, database: Database, sinks) -> None:
        self.database, self.sinks, self.now = database, sinks, 1000.0
        self.there = {"digits", "fraud"}
        self.again()

    def again(self) -> None:
        self.incidents = Incidents(self.database, self.sinks, lambda: self.there, environ={}, clock=lambda: self.now)

    async def step(self, seconds: float = 2.0) -> None:
        self.now += seconds
        self.incidents.turn()
        await self.incidents.send()

    def states(self) -> list[tuple[str, str]]:
        return [(each.id, each.state) for each in alerts.read(self.database)]

    def letters(self) -> int:
        return len(kept.load(self.database).outbox.letters)


@pytest.fixture
def site():
    with web() as told:
        yield told


@pytest.fixture
def world(database, site):
    return World(database, {"hook": Webhook(url=site.url)})


def slow(severity="page", endpoint="digits", subject="latency", reason="2 % were slow"):
    return Finding(endpoint=endpoint, kind="slo", subject=subject, severity=severity, title="latency", reason=reason)


async def test_from_a_report_to_the_sink_and_back(world, site):
    world.incidents.report("slos", "digits", [slow()])
    await world.step()
    await world.step()
    assert [(each["id"], each["status"]) for each in site.bodies] == [("digits/slo/latency@1002:firing:page", "firing")]
    (shown,) = alerts.read(world.database)
    assert (shown.endpoint, shown.kind, shown.subject, shown.severity, shown.state, shown.text) == (
        "digits", "slo", "latency", "page", "firing", "2 % were slow",
    )  # fmt: skip
    world.incidents.report("slos", "digits", [])
    await world.step(CALM + 1)
    assert [each["status"] for each in site.bodies] == ["firing", "resolved"]
    assert world.states() == [("digits/slo/latency@1002", "resolved")]
    assert kept.load(world.database) == kept.IncidentsState()


async def test_a_source_replaces_what_it_said_and_nothing_else(world, site):
    world.incidents.report("slos", "digits", [slow()])
    world.incidents.report("drift", "digits", [slow(subject="x", severity="ticket")])
    world.incidents.report("slos", "fraud", [slow(endpoint="fraud")])
    world.incidents.report("slos", "digits", [slow(subject="errors")])
    await world.step()
    assert {each["incident"].partition("@")[0] for each in site.bodies} == {
        "digits/slo/errors", "digits/slo/x", "fraud/slo/latency",
    }  # fmt: skip
    with pytest.raises(InvalidArgument, match="a report on 'digits' names 'fraud'"):
        world.incidents.report("slos", "digits", [slow(endpoint="fraud")])


async def test_a_restart_forgets_no_report_and_begins_no_second_incident(world, site):
    world.incidents.report("drift", "digits", [slow()])
    world.again()
    await world.step()
    world.again()
    await world.step(CALM * 2)
    assert [each["id"] for each in site.bodies] == ["digits/slo/latency@1002:firing:page"]
    assert world.states() == [("digits/slo/latency@1002", "firing")]


async def test_killed_before_the_delivery_it_is_sent_by_who_starts_next(world, site):
    world.incidents.report("slos", "digits", [slow()])
    world.incidents.turn()
    world.again()
    world.now += 50
    await world.incidents.send()
    await world.incidents.send()
    assert [each["id"] for each in site.bodies] == ["digits/slo/latency@1000:firing:page"]


async def test_killed_after_the_delivery_before_it_is_noted_it_is_sent_again_with_the_same_id(world, site, monkeypatch):
    world.incidents.report("slos", "digits", [slow()])
    monkeypatch.setattr(world.incidents, "_sent", lambda one, error: None)
    await world.step()
    world.again()
    await world.step()
    await world.step()
    assert [each["id"] for each in site.bodies] == ["digits/slo/latency@1002:firing:page"] * 2


async def test_a_sink_that_fails_gets_it_later_and_holds_up_nobody(world, site):
    with web() as other:
        world.sinks = {"a": Webhook(url=site.url), "b": Slack(url=other.url), "wrong": Slack(url="$NOT_SET")}
        world.again()
        site.statuses = [500, 503]
        world.incidents.report("slos", "digits", [slow()])
        for wait in (1, 1, 1, 2, 2, 100):
            await world.step(wait)
        assert (len(site.seen), len(other.seen)) == (3, 1)
        assert len({body["id"] for body in site.bodies}) == 1
        found = kept.load(world.database).outbox
        assert (found.letters, [each.sink for each in found.lost]) == ({}, ["wrong"])


async def test_a_sink_that_is_declared_no_more_gets_nothing(world, site):
    world.incidents.report("slos", "digits", [slow()])
    world.incidents.turn()
    world.sinks = {}
    world.again()
    await world.step()
    assert (site.seen, world.letters()) == ([], 0)


async def test_incidents_of_an_endpoint_that_is_deleted_are_over(world, site):
    world.incidents.report("slos", "digits", [slow()])
    await world.step()
    world.there = {"fraud"}
    await world.step()
    assert [each["status"] for each in site.bodies] == ["firing", "resolved"]
    assert world.states() == [("digits/slo/latency@1002", "resolved")]
    world.there = {"digits", "fraud"}
    await world.step()
    assert len(site.seen) == 2


async def test_a_mute_holds_for_the_cause_until_it_ends(world, site):
    world.incidents.report("slos", "digits", [slow("ticket")])
    await world.step()
    ((name, _),) = world.states()
    alerts.mute(world.database, name, world.now + 4 * CALM, Cause(actor="me", reason="known"))
    world.incidents.report("slos", "digits", [slow("page")])
    await world.step()
    assert world.states() == [(name, "muted")]
    world.incidents.report("slos", "digits", [])
    await world.step(CALM + 1)
    world.incidents.report("slos", "digits", [slow()])
    world.again()
    await world.step()
    assert [each["status"] for each in site.bodies] == ["firing", "resolved"]
    assert [state for _, state in world.states()] == ["muted", "resolved"]
    await world.step(4 * CALM)
    assert [each["status"] for each in site.bodies] == ["firing", "resolved", "firing"]
    assert world.states()[0][1] == "firing"


async def test_what_is_muted_reminds_nobody_and_waits_in_the_outbox(world, site):
    world.sinks = {"am": Alertmanager(url=site.url)}
    world.again()
    world.incidents.report("slos", "digits", [slow()])
    await world.step()
    ((name, _),) = world.states()
    alerts.mute(world.database, name, world.now + 2000, Cause())
    await world.step(1000)
    assert (len(site.seen), world.letters()) == (1, 1)
    alerts.mute(world.database, name, world.now, Cause())
    await world.step()
    assert len(site.seen) == 2


@pytest.mark.parametrize(
    ("error", "told"), [(StorageFull("full"), 1), (Unavailable("away"), 0), (Conflict("led by another"), 0)]
)
async def test_where_nothing_can_be_written_only_a_full_disk_is_a_reason_to_tell(
    world, site, monkeypatch, caplog, error, told
):
    save = module.table.save

    def refused(*_):
        raise error

    monkeypatch.setattr(module.table, "save", refused)
    world.incidents.report("slos", "digits", [slow()])
    for _ in range(3):
        await world.step()
    assert len(site.seen) == told
    assert caplog.text.count("is not written, and will be") == 1
    monkeypatch.setattr(module.table, "save", save)
    world.incidents.report("slos", "digits", [])
    await world.step()
    assert len(site.seen) == 1
    world.again()
    assert world.states() == [("digits/slo/latency@1002", "firing")]
    await world.step(CALM * 2)
    assert [each["status"] for each in site.bodies] == ["firing", "resolved"]


async def test_rows_that_cannot_be_read_are_left_out(world, site, caplog):
    world.incidents.report("slos", "digits", [slow()])
    world.incidents.report("slos", "fraud", [slow(endpoint="fraud")])
    with world.database.begin() as connection:
        connection.execute(kept.alerting_table.update().where(kept.T.name == "slos|fraud").values(body="{"))
    world.again()
    assert "cannot be read and is left out" in caplog.text
    await world.step()
    assert [each["endpoint"] for each in site.bodies] == ["digits"]


async def test_what_was_over_long_ago_is_forgotten(world):
    world.incidents.report("slos", "digits", [slow()])
    await world.step()
    world.incidents.report("slos", "digits", [])
    await world.step(CALM + 1)
    await world.step(alerts.DAYS * 86400 + 1)
    assert world.states() == []


def test_an_incident_that_goes_on_is_not_written_at_every_look(world, monkeypatch):
    written = []
    save = kept.Database.begin
    world.incidents.report("slos", "digits", [slow()])
    world.incidents.turn()
    monkeypatch.setattr(kept.Database, "begin", lambda self, **more: written.append(1) or save(self, **more))
    for _ in range(20):
        world.now += 2
        world.incidents.turn()
    assert not written
    world.now += kept.STALE
    world.incidents.turn()
    assert len(written) == 1


async def test_hostile_names_are_told_and_stop_nothing(world, site):
    hostile = ["a\0b", "\ud800", "x" * 100_000, "'; drop table alerts; --", "<script>", "digits/slo/x@1", ""]
    world.incidents.report("drift", "digits", [slow(subject=each, reason=each * 2) for each in hostile])
    await world.step()
    assert len({each["id"] for each in site.bodies}) == len(hostile)
    assert len(alerts.read(world.database)) == len(hostile)
    for name, _ in world.states():
        alerts.mute(world.database, name, world.now + 100, Cause())
    await world.step()
    assert {state for _, state in world.states()} == {"muted"}
