"""Parquet, compressed with zstd; the metadata stands in the footer."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from argosy.batch.fragment import Part
from argosy.batch.sink.file import grouped, writing
from argosy.engines.base import require


def write(batches: Iterable[Any], schema: Any, path: Path, metadata: Mapping[str, str]) -> Part:
    """See `Sink`."""
    module = cast("Any", require("pyarrow.parquet", "batch", "Parquet"))
    schema = schema.with_metadata(dict(metadata))
    with writing(path) as output, module.ParquetWriter(output, schema, compression="zstd") as writer:
        for table in grouped(batches, schema):
            writer.write_table(table, row_group_size=table.num_rows)
            output.rows += table.num_rows
    return output.part()
