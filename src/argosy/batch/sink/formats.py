"""Parquet, compressed with zstd; the metadata stands in the footer."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, cast

from argosy.batch.sink.file import GROUP_BYTES, GROUP_ROWS, Output
from argosy.batch.source.shape import arrow
from argosy.engines.base import require

GROUP = GROUP_BYTES


def opened(output: Output, schema: Any, metadata: Mapping[str, str]) -> AbstractContextManager[Any]:
    """See `Module`."""
    module = cast("Any", require("pyarrow.parquet", "batch", "Parquet"))
    writer = module.ParquetWriter(
        output, schema.with_metadata(dict(metadata)), compression="zstd", use_dictionary=repeating(schema)
    )
    return _Writer(writer)


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


class _Writer:
    """Each table becomes a row group."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, *error: object) -> None:
        self._writer.close()

    def write_table(self, table: Any) -> None:
        self._writer.write_table(table, row_group_size=max(GROUP_ROWS[1], table.num_rows))
