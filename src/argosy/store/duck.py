"""DuckDB, opened so that what it may touch is fixed before any text of a user's reaches it."""

import contextlib
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from typing import Any

from argosy.spec.errors import InvalidArgument, require


def module() -> Any:
    """duckdb. Raises MissingExtra."""
    return require("duckdb", "monitoring", "reading payloads and labels")


@contextlib.contextmanager
def opened(*, memory: str = "1GB", threads: int = 0, temporary: Path | None = None) -> Generator[Any]:
    """A connection to an empty database in memory, closed at the end. Past `memory` it spills into `temporary`. No
    extension is ever fetched or loaded by itself."""
    config: dict[str, Any] = {
        "memory_limit": memory,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "preserve_insertion_order": False,
    }
    if threads:
        config["threads"] = threads
    if temporary is not None:
        config["temp_directory"] = str(temporary)
    connection = module().connect(":memory:", config=config)
    try:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection
    finally:
        connection.close()


def seal(connection: Any, files: Iterable[Path]) -> None:
    """From now on only these files can be read, nothing can be written, and no setting can be changed."""
    paths = ", ".join(literal(str(path)) for path in files)
    connection.execute(f"SET allowed_paths = [{paths}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def identifier(name: str) -> str:
    """A name as SQL takes it, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as SQL takes it, whatever is in it."""
    return "'" + text.replace("'", "''") + "'"


def files(paths: Sequence[Path | str]) -> str:
    """A list of paths as the argument of `read_parquet`."""
    return "[" + ", ".join(literal(str(path)) for path in paths) + "]"


def one_select(sql: str) -> None:
    """Raises InvalidArgument unless the text is one SELECT and nothing else."""
    duckdb = module()
    try:
        statements = duckdb.extract_statements(sql)
    except duckdb.Error as error:
        raise InvalidArgument(f"the condition is not valid SQL: {first_line(error)}") from None
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise InvalidArgument("the condition must be one expression, as in  code >= 500")


def first_line(error: BaseException) -> str:
    """What DuckDB said, without its drawing of the place."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
