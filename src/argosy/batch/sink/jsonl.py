"""JSON lines: an object a row. NaN and infinities are null, times are text, bytes base64. It has no metadata."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec
import numpy as np

from argosy.batch.sink.file import GROUP_BYTES, Output
from argosy.batch.source.shape import arrow

GROUP = GROUP_BYTES
_TOGETHER = 4096
"""Rows that are Python objects at the same time."""


@contextmanager
def opened(output: Output, schema: Any, metadata: Mapping[str, str]) -> Generator["_Writer"]:
    """See `Module`."""
    yield _Writer(output, schema.names)


class _Writer:
    def __init__(self, output: Output, names: list[str]) -> None:
        self._output, self._names = output, names
        self._encoder = msgspec.json.Encoder()

    def write_table(self, table: Any) -> None:
        for batch in table.to_batches(max_chunksize=_TOGETHER):
            rows = zip(*(_values(column) for column in batch.columns), strict=True)
            self._output.write(self._encoder.encode_lines([dict(zip(self._names, row, strict=True)) for row in rows]))


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
