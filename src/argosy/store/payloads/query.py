"""Reading a log through DuckDB: a condition in SQL, over the columns of every version together."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from argosy.spec.errors import InvalidArgument, NotFound
from argosy.store import duck
from argosy.store.payloads import layout, segment
from argosy.store.payloads.segment import Broken

_TYPES = "{'endpoint': VARCHAR, 'version': VARCHAR, 'hour': VARCHAR}"


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What to read: rows from `since` until `until` (aware) for which `where` is true; the newest `limit` of them.
    `where` names columns as they are (`"input.age" > 30`) or, where a name is plain, as a field (`input.age > 30`)."""

    endpoint: str
    since: datetime | None = None
    until: datetime | None = None
    where: str = ""
    limit: int = 0


class QueryResult(msgspec.Struct, frozen=True):
    """An Arrow table, oldest row first, and the files that were broken and put aside on the way."""

    table: Any
    broken: tuple[Broken, ...]


def read(root: Path, query: Query) -> QueryResult:
    """Run a query. Raises NotFound without a log, InvalidArgument for a condition it cannot or must not have."""
    with sealed(root, query) as (connection, broken):
        if connection is None:
            from argosy.store.payloads.encode import arrow

            return QueryResult(arrow().table({}), broken)
        return QueryResult(_run(connection, query), broken)


@contextmanager
def sealed(root: Path, query: Query) -> Generator[tuple[Any, tuple[Broken, ...]]]:
    """A connection that has the log as `payload`, and can read nothing else; None where no file is of the time."""
    with layout.shared(root), duck.opened() as connection:
        yield _prepared(connection, root, query)


def _prepared(connection: Any, root: Path, query: Query) -> tuple[Any, tuple[Broken, ...]]:
    found = layout.segments(root, query.endpoint, query.since, query.until)
    if not found and query.endpoint not in layout.endpoints(root):
        known = ", ".join(layout.endpoints(root)) or "none yet"
        raise NotFound(f"there is no payload log of '{query.endpoint}' under {root}; there are logs of {known}")
    paths, broken = [root / each.key for each in found], tuple[Broken, ...]()
    names: list[str] = []
    if paths:
        try:
            names = _names(connection, paths)
        except duck.module().Error:
            broken = tuple(segment.quarantine(root, [each.key for each in found]))
            paths = [path for path in paths if path.exists()]
            names = _names(connection, paths) if paths else []
    if not paths:
        return None, broken
    duck.seal(connection, paths)
    connection.execute(view(paths, names))
    return connection, broken


def _names(connection: Any, paths: Sequence[Path]) -> list[str]:
    connection.execute(f"SELECT * FROM {source(paths)} LIMIT 0")
    return [column[0] for column in connection.description]


def source(paths: Sequence[Path]) -> str:
    """The files as a table of SQL: columns that a version lacks are NULL in its rows."""
    return f"read_parquet({duck.files(paths)}, union_by_name = true, hive_partitioning = true, hive_types = {_TYPES})"


def view(paths: Sequence[Path], names: Sequence[str]) -> str:
    """The statement that makes the view `payload`; the columns of a side are fields of `input` and `output`, too."""
    columns = ["*"]
    for side in ("input", "output"):
        if own := [name for name in names if name.startswith(f"{side}.")]:
            fields = (f"{duck.identifier(n.removeprefix(f'{side}.'))} := {duck.identifier(n)}" for n in own)
            columns.append(f"struct_pack({', '.join(fields)}) AS {side}")
    return f"CREATE TEMP VIEW payload AS SELECT {', '.join(columns)} FROM {source(paths)}"


def _run(connection: Any, query: Query) -> Any:
    clauses = [f"(\n{query.where}\n)"] if query.where.strip() else []
    connection.execute("SELECT * FROM payload LIMIT 0")
    sides = [column[0] for column in connection.description if column[0] in ("input", "output")]
    sql = "SELECT * " + (f"EXCLUDE ({', '.join(sides)}) " if sides else "") + "FROM payload"
    bounds = {"time >= ?": query.since, "time <= ?": query.until}
    clauses += [text for text, moment in bounds.items() if moment is not None]
    if clauses:
        sql += " WHERE " + " AND ".join(clauses)
    sql += " ORDER BY time DESC, request_id DESC, row DESC" + (f" LIMIT {query.limit:d}" if query.limit else "")
    ordered = f"SELECT * FROM ({sql}\n) ORDER BY time, request_id, row"
    for text in (sql, ordered):
        duck.one_select(text)
    try:
        values = [moment for moment in bounds.values() if moment is not None]
        return connection.sql(ordered, params=values).to_arrow_table()
    except duck.module().Error as error:
        text = duck.first_line(error)
        if "file system operations are disabled" in text.lower() or type(error).__name__ == "PermissionException":
            raise InvalidArgument(
                "the condition may use the columns of the log, and no files, settings or extensions"
            ) from None
        raise InvalidArgument(f"the condition does not fit the log: {text[:500]}") from None
