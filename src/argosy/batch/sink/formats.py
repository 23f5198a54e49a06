"""The formats a job writes: record batches in, one durable file out, its rows in the same groups however they came."""

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec
import numpy as np

from argosy.batch.fragment import Part
from argosy.batch.sink.file import GROUP_BYTES, GROUP_ROWS, Output, grouped, writing
from argosy.batch.source.shape import arrow
from argosy.engines.base import require
from argosy.spec.batch import Format

Write = Callable[[Any], object]
"""Writes a table, together where the format has groups."""

_ARROW_BYTES = 1024 * 1024
"""Small groups are written while they lie in the processor's cache, and readers of Arrow lose nothing by them."""
_TOGETHER = 4096
"""Rows that are Python objects at the same time."""


def write(format: Format, batches: Iterable[Any], schema: Any, path: Path, metadata: Mapping[str, str]) -> Part:
    """Write the batches, all of `schema`, to a local file; it is durable when this returns. Raises StorageFull."""
    sink = SINKS[format]
    with writing(path) as output, sink.opened(output, schema, metadata) as write_table:
        for table in grouped(batches, schema, sink.group):
            write_table(table)
            output.rows += table.num_rows
    return output.part()


@contextmanager
def _arrow(output: Output, schema: Any, metadata: Mapping[str, str]) -> Generator[Write]:
    """Arrow IPC, which Feather is another name for. Nothing is compressed, so that readers can map the file into memory
    as it is."""
    with arrow().ipc.new_file(output, schema.with_metadata(dict(metadata))) as writer:
        yield writer.write_table


@contextmanager
def _csv(output: Output, schema: Any, _metadata: Mapping[str, str]) -> Generator[Write]:
    """A header, in UTF-8; text stands in quotes, a missing value is empty."""
    module = cast("Any", require("pyarrow.csv", "batch", "CSV"))
    with module.CSVWriter(output, schema) as writer:
        yield writer.write_table


@contextmanager
def _jsonl(output: Output, schema: Any, _metadata: Mapping[str, str]) -> Generator[Write]:
    """An object a row. NaN and infinities are null, times are text, bytes base64."""
    encoder = msgspec.json.Encoder()

    def write_table(table: Any) -> None:
        for batch in table.to_batches(max_chunksize=_TOGETHER):
            rows = zip(*(_values(column) for column in batch.columns), strict=True)
            output.write(encoder.encode_lines([dict(zip(schema.names, row, strict=True)) for row in rows]))

    yield write_table


def _values(column: Any) -> list[Any]:
    types = arrow().types
    if types.is_temporal(column.type):
        return column.cast("string").to_pylist()
    if types.is_fixed_size_list(column.type) and types.is_floating(column.type.value_type) and not column.null_count:
        values = column.flatten()
        if not values.null_count:
            found: Any = np.asarray(values.to_numpy()).reshape(len(column), column.type.list_size).tolist()
            return found
    return column.to_pylist()


@contextmanager
def _parquet(output: Output, schema: Any, metadata: Mapping[str, str]) -> Generator[Write]:
    """Compressed with zstd; each table is a row group."""
    module = cast("Any", require("pyarrow.parquet", "batch", "Parquet"))
    with module.ParquetWriter(
        output, schema.with_metadata(dict(metadata)), compression="zstd", use_dictionary=repeating(schema)
    ) as writer:
        yield lambda table: writer.write_table(table, row_group_size=max(GROUP_ROWS[1], table.num_rows))


def repeating(schema: Any) -> list[str]:
    """The paths of all leaves but floats: these seldom repeat, and a dictionary of them is built and thrown away."""
    return [path for field in schema for path in _leaves(field.type, field.name)]


def _leaves(kind: Any, path: str) -> list[str]:
    types = arrow().types
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _leaves(kind.value_type, f"{path}.list.element")
    if types.is_struct(kind):
        return [leaf for field in kind for leaf in _leaves(field.type, f"{path}.{field.name}")]
    return [] if types.is_floating(kind) else [path]


class Sink(NamedTuple):
    """A format: what writes tables into an open file, which is whole once the block has ended, with metadata where the
    format has a place for it; and about how many bytes are written together."""

    opened: Callable[[Output, Any, Mapping[str, str]], AbstractContextManager[Write]]
    group: int = GROUP_BYTES


SINKS: dict[Format, Sink] = {
    "arrow": Sink(_arrow, _ARROW_BYTES),
    "csv": Sink(_csv),
    "jsonl": Sink(_jsonl),
    "parquet": Sink(_parquet),
}
