"""Rows of tables as structs: one declaration for both, and the statements that write structs and read them."""

import functools
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec
import sqlalchemy as sa

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

    from argosy.store.database import Database

S = TypeVar("S", bound=msgspec.Struct)

KNOWN = 4096
"""Values of each column of JSON that are kept."""
_TYPES: dict[Any, Any] = {str: sa.Text, int: sa.Integer, float: sa.Float}


def now() -> str:
    """This moment, UTC, ISO 8601 with microseconds: sorts as text."""
    return stamp(datetime.now(UTC))


def stamp(moment: datetime) -> str:
    """A moment in UTC as `now` writes it."""
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


class Json(sa.types.TypeDecorator[Any]):
    """A text column that holds a value of type `of` as JSON. Reading raises msgspec.ValidationError for another's.
    Values that cannot change are read once for each text: a pass of the controller reads every declaration."""

    impl = sa.Text
    cache_ok = True

    def __init__(self, of: Any) -> None:
        super().__init__()
        self.of = of
        read: Callable[[str], Any] = functools.partial(msgspec.json.decode, type=of)
        frozen = isinstance(of, type) and issubclass(of, msgspec.Struct) and of.__struct_config__.frozen
        self._read = functools.lru_cache(KNOWN)(read) if frozen else read

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> str | None:
        return None if value is None else msgspec.json.encode(value).decode()

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Any:
        return None if value is None else self._read(value)


def table_of(
    metadata: sa.MetaData,
    name: str,
    struct: type[msgspec.Struct],
    /,
    *indices: sa.Index,
    key: Collection[str],
    index: Collection[str] = (),
    **kinds: Any,
) -> sa.Table:
    """A table with a column for each field of `struct`, those of the primary `key` first; `index` has those with an
    index of their own. `kinds` are the types of columns that follow from no type of a field: a number is the most
    characters of a text. What is no text or number is held as JSON."""
    columns: list[sa.Column[Any]] = []
    hints = typing.get_type_hints(struct)
    for field in (*key, *(field for field in struct.__struct_fields__ if field not in key)):
        hint, nullable = hints[field], False
        if isinstance(hint, types.UnionType) and types.NoneType in hint.__args__:
            hint, nullable = next(kind for kind in hint.__args__ if kind is not types.NoneType), True
        kind = kinds.get(field) or _TYPES.get(hint) or Json(hint)
        kind = sa.String(kind) if isinstance(kind, int) else kind
        if field in key:
            columns.append(sa.Column(field, kind, primary_key=True, autoincrement=False))
        else:
            columns.append(sa.Column(field, kind, nullable=nullable, index=field in index or None))
    return sa.Table(name, metadata, *columns, *indices)


class RowMapper(Generic[S]):
    """The rows of `table` as structs of type `struct`.

    A field is stored in the column of its name, or in the one that `columns` gives for it. A field without a column is
    not stored and keeps its default; a column without a field is given to the methods that write as one of `others`.
    """

    def __init__(self, table: sa.Table, struct: type[S], **columns: str) -> None:
        self.table, self.struct = table, struct
        named = {field: columns.get(field, field) for field in struct.__struct_fields__}
        self._columns = {field: table.c[name] for field, name in named.items() if name in table.c}

    def query(self, *where: sa.ColumnElement[bool]) -> sa.Select[Any]:
        """A SELECT of the fields' columns, to be ordered and limited."""
        return sa.select(*(column.label(field) for field, column in self._columns.items())).where(*where)

    def of(self, row: sa.RowMapping) -> S:
        """The struct of a row of `query`, which may have more columns."""
        return self.struct(**{field: row[field] for field in self._columns})

    def all(self, connection: sa.Connection, query: sa.Select[Any]) -> list[S]:
        return [self.of(row) for row in connection.execute(query).mappings()]

    def read(
        self, database: "Database", *where: sa.ColumnElement[bool], order: Sequence[Any], most: int | None = None
    ) -> list[S]:
        """The rows that fit, in an `order` and at most so many. Raises Unavailable."""
        with database.read() as connection:
            return self.all(connection, self.query(*where).order_by(*order).limit(most))

    def one(self, connection: sa.Connection, *where: sa.ColumnElement[bool]) -> S | None:
        """The only row that fits; None where there is none."""
        row = connection.execute(self.query(*where)).mappings().one_or_none()
        return None if row is None else self.of(row)

    def any(self, database: "Database") -> bool:
        """Whether the table has a row. Raises Unavailable."""
        with database.read() as connection:
            return connection.execute(sa.select(sa.literal(1)).select_from(self.table).limit(1)).first() is not None

    def values(self, row: S, **others: Any) -> dict[str, Any]:
        """A struct as the values of an INSERT or UPDATE."""
        return {column.name: getattr(row, field) for field, column in self._columns.items()} | others

    def add(self, connection: sa.Connection, rows: Iterable[S], **others: Any) -> int:
        """Insert the rows whose primary key is new; the others stay as they are. Returns how many were inserted."""
        return add(connection, self.table, [self.values(row, **others) for row in rows])

    def put(self, connection: sa.Connection, rows: Iterable[S], keep: Collection[str] = (), **others: Any) -> None:
        """Insert rows; of one whose primary key is there, replace all columns but those named in `keep`."""
        put(connection, self.table, [self.values(row, **others) for row in rows], keep)


def insert(connection: sa.Connection, table: sa.Table) -> "sqlite.Insert | postgresql.Insert":
    """An INSERT that has `on_conflict_do_nothing` and `on_conflict_do_update`."""
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert
    else:
        from sqlalchemy.dialects.postgresql import insert
    return insert(table)


def add(connection: sa.Connection, table: sa.Table, values: Sequence[Mapping[str, Any]]) -> int:
    """Insert rows that conflict with no other; how many those are."""
    if not values:
        return 0
    statement = insert(connection, table).on_conflict_do_nothing().returning(*table.primary_key)
    return len(connection.execute(statement, values).all())


def put(
    connection: sa.Connection, table: sa.Table, values: Sequence[Mapping[str, Any]], keep: Collection[str] = ()
) -> None:
    """Insert rows; of one whose primary key is there, replace all columns but those named in `keep`."""
    if not values:
        return
    statement, key = insert(connection, table), [column.name for column in table.primary_key]
    news = {name: statement.excluded[name] for name in values[0] if name not in {*key, *keep}}
    connection.execute(statement.on_conflict_do_update(index_elements=key, set_=news), values)
