"""What the sources share: checks of a schema and of a file's content, and batches in the types that were agreed."""

import hashlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, cast

import msgspec

from argosy.batch.fragment import File, Fragment
from argosy.batch.place import Place
from argosy.engines.base import require, short
from argosy.spec.errors import ArgosyError, Conflict, InvalidArgument

LOOSE = b"argosy.loose"
"""In the metadata of a schema: its types are guesses of what is text, and the signature knows better. `json`: rows are
objects."""
ROW = "_row"
"""In a schema to read: the column that has the whole row as JSON, of a file of JSON lines."""
MATRIX = b"argosy.matrix"
"""In the metadata of a schema: its one column has no name of its own, and is whatever one input the model has."""
READING = b"argosy.reading"
"""In the metadata of a schema to read: `Reading`, as JSON."""

ENDS = 64 * 1024
"""Bytes at the beginning and at the end of a file that stand for its content."""


class Reading(msgspec.Struct, frozen=True, omit_defaults=True):
    """How text is read. `nulls` are words that mean a missing value in CSV, beside the empty one; columns that are
    `exact` keep their text: a number that would be written otherwise than it was is a fault."""

    nulls: tuple[str, ...] = ()
    exact: tuple[str, ...] = ()


def reading_of(schema: Any) -> Reading:
    """How a schema to read says that text is read."""
    metadata: dict[bytes, bytes] = schema.metadata or {}
    return msgspec.json.decode(metadata.get(READING, b"{}"), type=Reading)


def arrow() -> Any:
    """pyarrow. Raises MissingExtra."""
    return cast("Any", require("pyarrow", "batch", "Batch"))


@contextmanager
def reading(url: str, what: str, *more: type[Exception]) -> Generator[None]:
    """Turn what Arrow finds wrong with a file, and `more` errors, into an InvalidArgument that names it."""
    pa = arrow()
    try:
        yield
    except ArgosyError:
        raise
    except (pa.ArrowException, OSError, ValueError, EOFError, *more) as error:
        raise InvalidArgument(f"{url} cannot be read as {what}: {short(error, 300)}") from error


def checked(schema: Any, url: str, *, index: bool = False) -> Any:
    """The schema without metadata and, unless `index`, pandas' index. Raises InvalidArgument for a name given twice."""
    pa = arrow()
    fields = [field for field in schema if index or not field.name.startswith("__index_level_")]
    names = [field.name for field in fields]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InvalidArgument(f"{url}: two columns are named '{twice}'")
    if not fields:
        raise InvalidArgument(f"{url} has no columns")
    return pa.schema([field.remove_metadata() for field in fields])


def conformed(batch: Any, schema: Any, fragment: Fragment) -> Any:
    """The columns of the schema, in its order and types. Raises InvalidArgument where a value would be changed."""
    if batch.schema.equals(schema):
        return batch
    pa = arrow()
    columns: list[Any] = []
    for field in schema:
        place = batch.schema.get_field_index(field.name)
        if place < 0:
            raise InvalidArgument(f"{fragment.file.url} lacks the column '{field.name}'")
        column = batch.column(place)
        if column.type != field.type:
            with reading(fragment.file.url, f"'{field.name}' of the type {field.type}"):
                column = column.cast(field.type)
        columns.append(column)
    if not columns:
        return pa.record_batch([pa.nulls(batch.num_rows)], ["_"]).select([])
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def sliced(batch: Any, rows: int) -> Iterator[Any]:
    """The batch in pieces of at most so many rows, none of them copied."""
    for start in range(0, batch.num_rows, rows):
        yield batch if batch.num_rows <= rows else batch.slice(start, rows)


def ends(file: File) -> str:
    """The SHA-256 of the beginning and the end of a file."""
    with Place(file.url).open() as handle:
        head = handle.read_at(min(ENDS, file.size), 0)
        tail = handle.read_at(min(ENDS, file.size), max(0, file.size - ENDS))
    return hashlib.sha256(head + tail).hexdigest()


def check_content(fragment: Fragment, content: str) -> None:
    """Raise Conflict where the content is another one than when the job was planned."""
    if content != fragment.content:
        raise Conflict(f"{fragment.file.url} has changed since the job was planned: start a job of its own for it")
