"""Output cut into folders `column=value` by the values of its columns, as Hive, Arrow and DuckDB read them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import numpy as np

from argosy.batch.fragment import Part
from argosy.batch.sink.file import GROUP_BYTES, Output, grouped, writing
from argosy.batch.sink.formats import SINKS
from argosy.batch.source.shape import arrow
from argosy.spec.batch import Format
from argosy.spec.errors import InvalidArgument

MISSING = "__HIVE_DEFAULT_PARTITION__"
"""The folder of rows without a value."""
LONGEST = 240
"""Bytes of a folder's name."""
MANY = 512
"""Folders that the rows of one fragment may go to."""


def write(
    batches: Iterable[Any],
    schema: Any,
    folder: Path,
    name: str,
    by: Sequence[str],
    format: Format,
    metadata: Mapping[str, str],
) -> tuple[Part, ...]:
    """Write a file of this name into each folder that has rows, in their order; what names folders is left out of it.

    Raises InvalidArgument for too many folders, or a value that cannot name one.
    """
    check(schema, by)
    rest = arrow().schema([field for field in schema if field.name not in by])
    found: dict[str, _Folder] = {}
    with ExitStack() as stack:
        size = 0
        for table in grouped(batches, schema):
            for path, rows in _split(table, by):
                if path not in found:
                    if len(found) == MANY:
                        raise InvalidArgument(
                            f"partition: {', '.join(by)} would make more than {MANY} folders of one fragment's rows: "
                            "cut by a column with fewer values"
                        )
                    found[path] = _Folder(stack, folder / path / name, format, rest, metadata)
                found[path].waiting.append(rows.select(rest.names))
            size += table.nbytes
            if size > GROUP_BYTES:
                size = 0
                for one in found.values():
                    one.flush()
        for one in found.values():
            one.flush()
    parts = {path: found[path].output.part() for path in sorted(found)}
    return tuple(msgspec.structs.replace(part, name=f"{path}/{name}") for path, part in parts.items())


def check(schema: Any, by: Sequence[str]) -> None:
    """Raise InvalidArgument unless the output has these columns, of types that name folders, and others beside."""
    types = arrow().types
    for name in by:
        place = schema.get_field_index(name)
        if place < 0:
            raise InvalidArgument(f"partition: the output has no column '{name}'; keep it, or choose another")
        kind = schema.field(place).type
        names_folders = types.is_string(kind) or types.is_integer(kind) or types.is_boolean(kind) or types.is_date(kind)
        if not (names_folders or types.is_large_string(kind)):
            raise InvalidArgument(
                f"partition: '{name}' contains {kind}; folders are named by text, integers, dates, booleans"
            )
    if len(by) == len(schema):
        raise InvalidArgument("partition: no column is left for the files")


class _Folder:
    """The file of a folder, and rows that wait to be written to it."""

    def __init__(self, stack: ExitStack, path: Path, format: Format, schema: Any, metadata: Mapping[str, str]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.output: Output = stack.enter_context(writing(path))
        self.write = stack.enter_context(SINKS[format].opened(self.output, schema, metadata))
        self.waiting: list[Any] = []

    def flush(self) -> None:
        """Write them."""
        if self.waiting:
            table = arrow().concat_tables(self.waiting).combine_chunks()
            self.write(table)
            self.output.rows += table.num_rows
            self.waiting = []


def _split(table: Any, by: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """The rows of each folder, in the order of the table."""
    codes = np.zeros(table.num_rows, dtype=np.int64)
    for name in by:
        column = table.column(name).combine_chunks().dictionary_encode(null_encoding="encode")
        column = column.combine_chunks() if hasattr(column, "combine_chunks") else column
        codes = codes * len(column.dictionary) + column.indices.to_numpy(zero_copy_only=False)
        codes = np.unique(codes, return_inverse=True)[1]
    for code in range(int(codes.max(initial=-1)) + 1):
        rows = np.flatnonzero(codes == code)
        values = [table.column(name)[int(rows[0])].as_py() for name in by]
        path = "/".join(_folder(name, value) for name, value in zip(by, values, strict=True))
        yield path, table if len(rows) == table.num_rows else table.take(arrow().array(rows))


def _folder(column: str, value: object) -> str:
    """The name of a folder. What a path or a reader could take for something else is written as %XX."""
    if value is None:
        text = MISSING
    else:
        text = quote(str(value).lower() if isinstance(value, bool) else str(value), safe="")
        if text == MISSING:
            raise InvalidArgument(f"partition: a value of '{column}' is '{MISSING}', which stands for a missing one")
    name = f"{quote(column, safe='')}={text}"
    if len(name) > LONGEST:
        raise InvalidArgument(
            f"partition: the value '{str(value)[:60]}…' of '{column}' is too long for a folder's name"
        )
    return name
