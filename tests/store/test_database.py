import re
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from argosy.spec.errors import Conflict, Internal, InvalidArgument, MissingExtra, StorageFull, Unavailable
from argosy.store.database import SCHEMA, Database, metadata, schema_version


def test_create_can_be_repeated_and_adds_tables_of_other_rooms(database: Database):
    extra = sa.Table("extra_of_a_test", metadata, sa.Column("id", sa.Integer, primary_key=True))
    try:
        database.create()
        with database.begin() as connection:
            connection.execute(sa.insert(extra).values(id=1))
        database.create()
        with database.read() as connection:
            assert connection.execute(sa.select(extra.c.id)).scalars().all() == [1]
    finally:
        metadata.remove(extra)


def test_a_block_that_raises_leaves_nothing(database: Database):
    with pytest.raises(ZeroDivisionError), database.begin() as connection:
        assert connection.execute(sa.delete(schema_version)).rowcount / 0
    with database.read() as connection:
        assert connection.execute(sa.select(schema_version.c.version)).scalar() == SCHEMA


def test_a_newer_schema_is_refused(database: Database):
    with database.begin() as connection:
        connection.execute(sa.update(schema_version).values(version=SCHEMA + 1))
    with pytest.raises(Conflict, match="newer Argosy"):
        database.create()


def test_sqlite_is_durable_and_strict(tmp_path: Path):
    database = Database(tmp_path / "odd name %3f?x=1.db").create()
    with database.read() as connection:
        values = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]
    database.close()
    assert values == ["wal", 2, 1, 30000]
    assert (tmp_path / "odd name %3f?x=1.db").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "url", ["", "nonsense", "sqlite://", "sqlite:///:memory:", "mysql://x/y", "sqlite:////no/such/x.db"]
)
def test_urls_that_cannot_serve_are_refused(url: str):
    with pytest.raises(InvalidArgument):
        Database(url)


def test_a_file_that_is_no_database(tmp_path: Path):
    path = tmp_path / "x.db"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(Internal, match="not a database"):
        Database(path).create()


def test_a_server_that_does_not_answer_and_the_password_stays_secret(tmp_path: Path):
    database = Database(f"postgresql://u:hunter2@/x?host={tmp_path}")
    with pytest.raises(Unavailable, match=r"u:\*\*\*@") as caught:
        database.create()
    assert "hunter2" not in caught.value.message


def test_postgresql_without_its_driver(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtra, match=r"\[postgres\]"):
        Database("postgresql://h/x")


def test_a_full_disk(tmp_path: Path):
    database = Database(tmp_path / "x.db").create()
    with database.read() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
    with database.engine.connect() as connection:
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
    table = sa.Table("big", sa.MetaData(), sa.Column("text", sa.Text))

    def fill() -> None:
        with database.begin() as connection:
            table.create(connection)
            connection.execute(sa.insert(table).values(text="x" * 1_000_000))

    with pytest.raises(StorageFull):
        fill()
    with database.read() as connection:
        assert not sa.inspect(connection).has_table("big")
    database.close()


def test_a_lock_held_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("argosy.store.database.BUSY_TIMEOUT", 0.05)
    first, second = Database(tmp_path / "x.db").create(), Database(tmp_path / "x.db")
    with first.begin(), pytest.raises(Unavailable, match="locked"), second.begin():
        pass
    first.close()
    second.close()


def test_argosy_itself_does_not_import_the_database_library():
    code = "import sys, argosy.store, argosy.store.layout; sys.exit('sqlalchemy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


CREATE = """
import os, sys
import argosy.store.keys
from argosy.store.database import Database
children = []
for _ in range(8):
    children.append(os.fork())
    if children[-1] == 0:
        Database(sys.argv[1]).create()
        os._exit(0)
sys.exit(any([os.waitpid(child, 0)[1] for child in children]))
"""


def test_many_processes_create_at_once(url: str):
    subprocess.run([sys.executable, "-c", CREATE, url], check=True, timeout=60)


def test_a_database_has_a_name_of_its_own_for_ever(tmp_path: Path):
    found = []
    for name in ("a", "b", "a"):
        database = Database(tmp_path / f"{name}.db").create()
        found.append(database.platform())
        database.close()
    assert found[0] == found[2] != found[1]
    assert all(re.fullmatch("[0-9a-f]{12}", each) for each in found)
