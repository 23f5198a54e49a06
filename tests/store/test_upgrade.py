"""Databases that an earlier Argosy has written open as they are, and hold what it wrote.

`fixtures/sqlite.sql` and `postgres.sql` are databases with a row in every table; `expected-*.json` is what
that version read of them by the functions below.
"""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from argosy.alerting import table as alerting
from argosy.control.keys import KeyReconciler
from argosy.control.rollout.table import Rollouts
from argosy.platform.lease import Lease
from argosy.spec.endpoint import DeclaredKey, Endpoint
from argosy.store import alerts, audit, findings, jobs, ledger, traffic, triggers
from argosy.store.database import Database
from argosy.store.endpoints import Endpoints
from argosy.store.keys import Keys
from argosy.store.registry import Registry

FIXTURES = Path(__file__).with_name("fixtures")
DIGEST = f"sha256:{1:064x}"


def read(database: Database) -> dict[str, Any]:
    """All that the tables hold, by the functions that read them."""
    registry, endpoints, rollouts = Registry(database), Endpoints(database), Rollouts(database)
    with database.read() as connection:
        entries = [each for name in ("shop", "m@live", "batch/nightly") for each in ledger.entries(connection, name)]
    declared = Endpoint(name="shop", model="m:2", keys=(DeclaredKey(name="team"),))
    return {
        "models": registry.models(),
        "versions": registry.versions("m"),
        "trusted": [registry.trusted(DIGEST), registry.trusted(f"sha256:{2:064x}")],
        "moves": [(move.name, move.alias, move.number) for move in registry.history("m")],
        "keys": Keys(database).list(),
        "key steps": KeyReconciler(database, declared).plan(),
        "endpoints": endpoints.endpoints(),
        "revisions": endpoints.revisions(),
        "rollouts": [rollouts.last(), rollouts.history("shop")],
        "jobs": [jobs.every(database), jobs.get(database, "nightly"), jobs.runs(database), jobs.last_runs(database)],
        "traffic": [traffic.read(database, "shop", 0, width) for width in (traffic.MINUTE, traffic.HOUR)],
        "ledger": entries,
        "audit": audit.verify(database),
        "findings": findings.read(database, "shop", ("drift", "estimate"), 0),
        "tally": findings.tally(database, 0),
        "triggers": [triggers.going(database), triggers.read(database, "shop")],
        "alerts": [alerts.read(database), alerts.counts(database, 0), list(alerts.muted(database, 0).items())],
        "alerting": alerting.load(database),
        "leader": Lease(database, "here").leader(),
    }


def plain(value: object) -> Any:
    """As JSON has it."""
    return msgspec.json.decode(msgspec.json.encode(value))


def holds(found: Any, expected: Any) -> bool:
    """Whether this is what was expected; objects may have fields that came since."""
    if isinstance(expected, dict):
        return expected.keys() <= found.keys() and all(holds(found[name], each) for name, each in expected.items())
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(holds, found, expected))
    return found == expected


def load(url: str) -> None:
    """Fill the empty database at `url` with that of the fixture."""
    if url.startswith("sqlite"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
            connection.executescript((FIXTURES / "sqlite.sql").read_text())
        connection.close()
        return
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql((FIXTURES / "postgres.sql").read_text().replace("%", "%%"))
    engine.dispose()


@pytest.fixture
def earlier(url: str) -> Iterator[Database]:
    """The database of the fixture, opened by this version."""
    load(url)
    database = Database(url).create()
    yield database
    database.close()


def test_what_an_earlier_version_wrote_reads_as_it_read_it(earlier: Database):
    kind = "sqlite" if earlier.sqlite else "postgres"
    expected = msgspec.json.decode((FIXTURES / f"expected-{kind}.json").read_bytes())
    found = plain(read(earlier))
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert holds(value, expected[name]), name
