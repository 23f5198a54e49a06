"""The hourly look for drift, on a fake clock and real profiles."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from argosy.control.revision import revision_of
from argosy.monitoring.drift.monitor import STATES
from argosy.monitoring.drift.reference import WEEK
from argosy.monitoring.drift.window import Watched, wrong
from argosy.spec.endpoint import Endpoint
from argosy.spec.payload import PayloadLog
from argosy.store import findings
from argosy.store.findings import Finding
from argosy.store.monitor_state import monitor_state_table
from tests.monitoring.drift.world import EVERY, World
from tests.monitoring.recorder import shop


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    one = World(tmp_path)
    yield one
    one.store.close()


def test_calm_then_drift_is_found_and_told_once(world: World):
    for _ in range(3):
        world.pass_hour()
    assert set(world.verdicts().values()) == {"no drift"}
    assert world.alerts() == []
    world.monitor = world.fresh()
    for _ in range(2):
        world.pass_hour(older=30)
    assert (world.verdicts()["age"], world.verdicts()["income"]) == ("drift", "no drift")
    fired = [each for each in world.alerts() if each.subject == "age"]
    assert [(each.state, each.endpoint, each.kind) for each in fired] == [("firing", "shop", "drift")]
    assert "'age' of version 1 has drifted" in fired[0].text


def test_a_window_is_looked_at_once(world: World):
    world.pass_hour()
    before = findings.read(world.store.database, "shop", ["drift"], 0)
    state = STATES.get(world.store.database, "shop")
    world.fresh().turn()
    assert findings.read(world.store.database, "shop", ["drift"], 0) == before
    assert STATES.get(world.store.database, "shop") == state


def test_broken_memory_begins_anew(world: World):
    world.pass_hour()
    with world.store.database.begin() as connection:
        connection.execute(sa.update(monitor_state_table).values(body=b"broken"))
    world.pass_hour()
    assert set(world.verdicts().values()) == {"no drift"}


def test_alerts_of_an_endpoint_that_is_gone_are_over(world: World):
    world.pass_hour(older=40)
    assert {each.state for each in world.alerts()} == {"firing"}
    world.state.delete("shop")
    world.now += EVERY
    world.monitor.turn()
    assert {each.state for each in world.alerts()} == {"resolved"}
    assert STATES.all(world.store.database) == {}


def test_alerts_of_a_version_that_serves_no_more_are_over(world: World):
    world.pass_hour(older=40)
    assert {each.state for each in world.alerts()} == {"firing"}
    endpoint = Endpoint(name="shop", model="shop:2")
    world.state.declare(endpoint, revision_of(endpoint, shop.push(world.store, world.home.root / "second")))
    world.now += EVERY
    world.monitor.turn()
    assert {each.state for each in world.alerts()} == {"resolved"}


def test_what_fires_is_reported_as_long_as_it_fires(world: World):
    world.pass_hour(older=40)
    first = {each.id for each in world.alerts() if each.state == "firing"}
    world.monitor = world.fresh()
    world.pass_hour(older=40)
    assert {each.id for each in world.alerts() if each.state == "firing"} >= first
    for _ in range(8):
        world.pass_hour()
    assert {each.state for each in world.alerts()} == {"resolved"}


def test_answers_are_told_apart_from_inputs(world: World):
    world.pass_hour(older=40)
    found = findings.read(world.store.database, "shop", ["drift", "prediction"], 0)
    assert {each.kind for each in found if each.subject in ("label", "score")} == {"prediction"}
    assert {each.kind for each in found if each.subject in shop.COLUMNS} == {"drift"}
    assert {each.kind for each in world.alerts()} == {"drift", "prediction"}


def test_a_finding_shows_its_distributions(world: World):
    world.pass_hour(older=40, n=300)
    found = {one.subject: one for one in findings.read(world.store.database, "shop", ["drift", "prediction"], 0)}
    age, label = found["age"].detail, found["label"].detail
    assert sum(age["current"]) == 300
    assert sum(age["reference"]) == 200
    assert len(age["labels"]) == len(age["current"]) == len(age["reference"]) <= 30
    assert age["labels"][-1].startswith("above ")
    assert age["current"][-1] > 100
    assert label["labels"][:2] == ["yes", "no"]


def test_columns_that_are_hidden_show_nothing_of_their_values(world: World):
    hidden = PayloadLog(redact=("income",), hash=("label", "input.age"))
    endpoint = Endpoint(name="shop", model="shop:1", payload=hidden)
    world.state.declare(endpoint, revision_of(endpoint, world.version))
    world.pass_hour()
    found = {one.subject: one for one in findings.read(world.store.database, "shop", ["drift", "prediction"], 0)}
    assert "income" not in found
    assert found["label"].detail["labels"] == ["bin 1", "bin 2"]
    assert found["age"].detail["labels"][0] == "bin 1"
    assert "yes" not in str(found["label"].detail)


def test_many_columns_are_one_alert():
    watched = Watched(endpoint="shop", version="1", start=0, end=EVERY, at=EVERY)
    one = Finding(
        endpoint="shop",
        version="1",
        kind="drift",
        subject="",
        at=0,
        window_start=0,
        window_end=EVERY,
        rows=9,
        verdict="drift",
        detail={"text": "far"},
    )
    each = [msgspec.structs.replace(one, subject=f"c{place}") for place in range(21)]
    assert [found.subject for found in wrong(watched, each[:20], 30)] == [f"c{place}" for place in range(20)]
    assert [found.subject for found in wrong(watched, each, 30)] == ["many columns"]


def test_a_segment_is_looked_at_against_its_own_past(world: World):
    world.declare(segments=("label",))
    for _ in range(4):
        world.pass_hour(n=600)
    assert world.alerts() == []
    world.monitor = world.fresh()
    for _ in range(3):
        world.pass_hour(richer=60_000, n=600)
    drifted = {name for name, verdict in world.verdicts().items() if verdict == "drift"}
    assert "income [label=yes]" in drifted
    assert not any("label=no" in name for name in drifted)
    found = findings.read(world.store.database, "shop", ["drift"], 0)
    segment = next(one for one in found if one.subject == "income [label=yes]" and one.verdict == "drift")
    assert segment.detail["segment"] == "label=yes"
    assert sum(segment.detail["current"]) < 600
    assert "income [label=yes]" in {each.subject for each in world.alerts() if each.state == "firing"}


def test_segments_that_are_declared_no_more_are_left(world: World):
    world.declare(segments=("label",))
    world.pass_hour()
    world.pass_hour()
    assert any("label=" in name for name in world.verdicts())
    world.declare(segments=())
    world.pass_hour()
    assert not any("label=" in name for name in world.verdicts())


@pytest.mark.slow
def test_the_same_hour_of_the_week_is_no_drift(world: World):
    """Nights, when people are older, in two weeks; the third is alike, but for one night."""
    world.declare(season="week")
    for hour in range(2 * WEEK):
        world.pass_hour(older=30 * (hour % 24 < 6), n=100, look=hour % 20 == 0)
    assert set(world.verdicts().values()) <= {
        "not yet: the same hour of the week was recorded in fewer than two of the last four weeks"
    }
    for hour in range(24):
        world.pass_hour(older=30 * (hour < 6), n=100)
        assert "drift" not in world.verdicts().values()
    for _ in range(4):
        world.pass_hour(n=100)
    assert world.verdicts()["age"] == "drift"
