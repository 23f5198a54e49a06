"""Parquet, compressed with zstd; the metadata stands in the footer."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, cast

from argosy.batch.sink.file import GROUP_ROWS, Output
from argosy.engines.base import require


def opened(output: Output, schema: Any, metadata: Mapping[str, str]) -> AbstractContextManager[Any]:
    """See `Module`."""
    module = cast("Any", require("pyarrow.parquet", "batch", "Parquet"))
    return _Writer(module.ParquetWriter(output, schema.with_metadata(dict(metadata)), compression="zstd"))


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
