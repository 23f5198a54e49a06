"""What monitors remembered in an older home's folders and tables is moved into the table of their states, once."""

import shutil
from pathlib import Path

import pytest
import sqlalchemy as sa

from argosy.alerting.triggers import policy
from argosy.monitoring.drift import monitor as drift
from argosy.monitoring.performance import monitor as performance
from argosy.monitoring.slo import monitor as slo
from argosy.platform.upgrade import move_states
from argosy.spec.errors import Conflict
from argosy.spec.settings import Home
from argosy.store.database import Database
from tests.store.test_upgrade import FIXTURES, load


@pytest.fixture
def home(tmp_path: Path) -> Home:
    shutil.copytree(FIXTURES / "home", tmp_path / "home")
    return Home(tmp_path / "home")


@pytest.fixture
def database(url: str):
    load(url)
    opened = Database(url).create()
    with opened.begin() as connection:
        body = '{"until": 5.0, "version": "1"}'
        connection.execute(
            sa.text("UPDATE trigger_states SET state = :body WHERE \"trigger\" = 'retrain'"), {"body": body}
        )
    yield opened
    opened.close()


def states(database: Database) -> dict[str, object]:
    monitors = (drift.STATES, performance.STATES, slo.STATES, policy.STATES)
    return {each.monitor: each.all(database) for each in monitors}


def old(home: Home, database: Database) -> list[str]:
    with database.read() as connection:
        tables = {"slos", "trigger_states"} & set(sa.inspect(connection).get_table_names())
    return sorted([*tables, *(path.name for path in home.root.rglob("*") if path.is_file())])


def test_every_state_is_moved_once(home: Home, database: Database):
    move_states(home, database)
    found = states(database)
    looked = drift.STATES.get(database, "shop")
    assert looked is not None
    assert looked.rows is not None
    assert (looked.version, looked.until, looked.state, looked.segments) == ("1", 8.0, b"\1\2", {"label=yes": b"\3"})
    first = performance.STATES.get(database, "shop", "1")
    assert first is not None
    assert (first.basis, first.served, first.said) == ("b", {1: 5}, {"estimate": "fine"})
    assert set(performance.STATES.all(database)) == {("shop", "1"), ("shop", "2")}
    course = slo.STATES.get(database, "shop")
    assert course is not None
    assert (course.looked, course.copies, list(course.kept)) == (7.0, {"r9"}, ["up"])
    assert policy.STATES.all(database) == {("shop", "retrain"): policy.TriggerState(until=5.0, version="1")}
    assert old(home, database) == ["shop.rows"]
    move_states(home, database)
    assert states(database) == found


def test_a_state_that_is_newer_stays(home: Home, database: Database):
    newer = drift.DriftState(version="2", layout="x", until=99.0)
    with database.begin() as connection:
        drift.STATES.put(connection, "shop", newer)
    move_states(home, database)
    assert drift.STATES.get(database, "shop") == newer
    assert old(home, database) == ["shop.rows"]


def test_a_torn_file_costs_only_its_own_state(home: Home, database: Database, caplog):
    (home.root / "drift/shop.look").write_bytes(b"torn")
    move_states(home, database)
    assert drift.STATES.all(database) == {}
    assert len(performance.STATES.all(database)) == 2
    assert "'drift' of 'shop' is left out" in caplog.text


def test_who_does_not_lead_moves_nothing(home: Home, database: Database):
    def fence(_: object) -> None:
        raise Conflict("another leads")

    before = old(home, database)
    database.fence = fence
    with pytest.raises(Conflict):
        move_states(home, database)
    assert old(home, database) == before
    assert not any(states(database).values())
