"""Parquet: cut by row groups, and by rows within large ones; only the wanted columns are read."""

import hashlib
import itertools
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, cast

from argosy.batch.fragment import File, Fragment
from argosy.batch.place import Place
from argosy.batch.source.shape import check_content, checked, conformed, reading, sliced
from argosy.engines.base import require
from argosy.spec.errors import InvalidArgument

_BUFFER = 1024 * 1024
"""Bytes of a column that are read at once on a disk; else a whole row group of it would be in memory."""
_REMOTE_BUFFER = 8 * 1024 * 1024


def schema(file: File) -> Any:
    with _opened(file) as parquet:
        return checked(parquet.schema_arrow, file.url)


def plan(file: File, rows: int) -> list[Fragment]:
    """See `Source`. A position is the first row and the one after the last."""
    with _opened(file) as parquet:
        meta = parquet.metadata
        sizes = [meta.row_group(group).num_rows for group in range(meta.num_row_groups)]
    content = _footer(file)
    return [
        Fragment(file=file, index=index, position=(start, end), first=start, rows=end - start, content=content)
        for index, (start, end) in enumerate(pieces(sizes, rows))
    ]


def pieces(sizes: list[int], rows: int) -> list[tuple[int, int]]:
    """Groups of rows of the given sizes → ranges of at most about `rows`: small groups together, large ones cut evenly.

    A range never crosses the border of a group that it does not contain whole.
    """
    found: list[tuple[int, int]] = []
    start = end = 0
    for size in sizes:
        if end > start and end - start + size > rows:
            found.append((start, end))
            start = end
        if size <= rows:
            end += size
            continue
        count = -(-size // rows)
        cuts = [end + size * number // count for number in range(count + 1)]
        found += itertools.pairwise(cuts)
        start = end = end + size
    return [*found, (start, end)] if end > start else found


def read(fragment: Fragment, skip: int, batch_rows: int, schema: Any) -> Iterator[Any]:
    check_content(fragment, _footer(fragment.file))
    start, end = fragment.position
    with _opened(fragment.file) as parquet, reading(fragment.file.url, "Parquet"):
        groups, drop = _groups(parquet.metadata, start + skip, end)
        left = end - start - skip
        names = schema.names
        if not names:
            raise InvalidArgument("no column is wanted of the input: the model has no inputs")
        for batch in parquet.iter_batches(batch_size=batch_rows, row_groups=groups, columns=names, use_threads=False):
            rows = batch.slice(min(drop, batch.num_rows), max(0, left))
            drop -= min(drop, batch.num_rows)
            left -= rows.num_rows
            yield from sliced(conformed(rows, schema, fragment), batch_rows)
            if left <= 0:
                return


def _groups(meta: Any, start: int, end: int) -> tuple[list[int], int]:
    """The row groups with these rows, and how many rows of the first come before them."""
    found: list[int] = []
    first = drop = 0
    for group in range(meta.num_row_groups):
        after = first + meta.row_group(group).num_rows
        if first < end and after > start:
            if not found:
                drop = start - first
            found.append(group)
        first = after
    return found, drop


@contextmanager
def _opened(file: File) -> Generator[Any]:
    module = cast("Any", require("pyarrow.parquet", "batch", "Parquet"))
    spot = Place(file.url)
    with spot.open() as handle:
        with reading(file.url, "Parquet"):
            parquet = module.ParquetFile(handle, buffer_size=_REMOTE_BUFFER if spot.remote else _BUFFER)
        yield parquet


def _footer(file: File) -> str:
    """The SHA-256 of the footer, which has the size and the statistics of every column chunk."""
    with Place(file.url).open() as handle:
        size = handle.size()
        tail = handle.read_at(8, size - 8) if size >= 12 else b""
        if tail[4:] != b"PAR1":
            raise InvalidArgument(f"{file.url} cannot be read as Parquet: it has no footer; was it written to the end?")
        length = min(int.from_bytes(tail[:4], "little"), size - 8)
        return hashlib.sha256(handle.read_at(length, size - 8 - length)).hexdigest()
