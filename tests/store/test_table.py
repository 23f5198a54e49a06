"""Structs as rows, on SQLite and PostgreSQL: what is written is read again, whatever it is."""

import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from argosy.store.database import Database
from argosy.store.table import Json, RowMapper

HERE = sa.Table(
    "of_a_test",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.String(8), primary_key=True),
    sa.Column("labels", Json(tuple[str, ...]), nullable=False),
    sa.Column("inner_value", Json(dict[int, float]), nullable=True),
    sa.Column("note", sa.Text, nullable=True),
)


class Thing(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    labels: tuple[str, ...] = ()
    inner: dict[int, float] | None = None
    note: str | None = None
    derived: int = 7


ROWS = RowMapper(HERE, Thing, inner="inner_value")

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
things = st.builds(
    Thing,
    id=st.integers(0, 50),
    labels=st.lists(texts, max_size=3).map(tuple),
    inner=st.none() | st.dictionaries(st.integers(-(2**31), 2**31), st.floats(allow_nan=False, allow_infinity=False)),
    note=st.none() | texts,
)


@pytest.fixture
def opened(url: str):
    database = Database(url)
    with database.begin(fenced=False) as connection:
        HERE.create(connection)
    yield database
    database.close()


@given(first=st.lists(things, unique_by=lambda each: each.id), second=st.lists(things, unique_by=lambda each: each.id))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
def test_put_replaces_and_add_does_not(opened: Database, first: list[Thing], second: list[Thing]):
    wanted = {each.id: each for each in first}
    with opened.begin() as connection:
        connection.execute(sa.delete(HERE))
        assert ROWS.add(connection, first, kind="a") == len(first)
        assert ROWS.add(connection, second, kind="a") == len({each.id for each in second} - wanted.keys())
        wanted = {each.id: each for each in second} | wanted
        assert {each.id: each for each in ROWS.all(connection, ROWS.query())} == wanted
        ROWS.put(connection, second, keep=["note"], kind="a")
        for each in second:
            wanted[each.id] = msgspec.structs.replace(each, note=wanted[each.id].note)
    with opened.read() as connection:
        assert {each.id: each for each in ROWS.all(connection, ROWS.query())} == wanted
        assert [ROWS.one(connection, HERE.c.id == each) for each in wanted] == list(wanted.values())
        assert ROWS.one(connection, HERE.c.id == 99) is None


def test_a_column_that_holds_something_else_says_so(opened: Database):
    with opened.begin() as connection:
        connection.execute(sa.text("INSERT INTO of_a_test (id, kind, labels) VALUES (1, 'a', '{\"a\": 1}')"))
    with opened.read() as connection, pytest.raises(msgspec.ValidationError):
        ROWS.one(connection)
