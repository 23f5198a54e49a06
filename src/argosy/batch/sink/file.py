"""What the sinks share: a file that is durable when it is closed and knows its digest, and rows in even groups."""

import hashlib
import io
import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from argosy.batch.fragment import Part
from argosy.batch.idle import pause
from argosy.batch.source.shape import arrow
from argosy.store.durable import storage, sync_folder

GROUP_BYTES = 32 * 1024 * 1024
"""Bytes of rows that are written together at most, about."""
GROUP_ROWS = (1024, 131_072)
"""At least and at most so many rows."""

_TEXT_BYTES = 64
"""What a value without a fixed length is taken to have."""


class Output(io.RawIOBase):
    """A file being written, as Arrow takes one. `rows` is counted by who writes them; `writing` closes it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = self.size = 0
        self._file = path.open("wb", buffering=0)
        self._digest = hashlib.sha256()

    def write(self, data: Any) -> int:
        view = memoryview(data)
        self._digest.update(view)
        self.size += view.nbytes
        while view.nbytes:
            view = view[self._file.write(view) or 0 :]
        pause()
        return self.size

    def tell(self) -> int:
        """How many bytes were written."""
        return self.size

    def writable(self) -> bool:
        return True

    def end(self, *, durably: bool) -> None:
        """Close the file."""
        try:
            if durably:
                os.fsync(self._file.fileno())
        finally:
            self._file.close()

    def part(self) -> Part:
        """What was written."""
        return Part(name=self.path.name, rows=self.rows, size=self.size, digest=self._digest.hexdigest())


@contextmanager
def writing(path: Path) -> Generator[Output]:
    """A file that is durable after the block, and deleted where the block fails. Raises StorageFull."""
    with storage(path):
        output = Output(path)
        try:
            yield output
            output.end(durably=True)
        except BaseException:
            output.end(durably=False)
            path.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def grouped(batches: Iterable[Any], schema: Any, size: int = GROUP_BYTES) -> Iterator[Any]:
    """The rows as tables of always the same number of rows, about `size` bytes, however they came; the last one has the
    rest. A batch that is such a group as it comes is not copied."""
    pa = arrow()
    size = group_rows(schema, size)
    waiting: list[Any] = []
    rows = 0
    for batch in batches:
        while batch.num_rows:
            taken = batch.slice(0, size - rows)
            waiting.append(taken)
            rows += taken.num_rows
            batch = batch.slice(taken.num_rows)
            if rows == size:
                yield pa.Table.from_batches(waiting, schema).combine_chunks()
                waiting, rows = [], 0
    if waiting:
        yield pa.Table.from_batches(waiting, schema).combine_chunks()


def group_rows(schema: Any, size: int = GROUP_BYTES) -> int:
    """How many rows of a schema make a group of about so many bytes: a power of two, as batches often are."""
    width = max(1, sum(_width(field.type) for field in schema))
    rows = min(max(size // width, GROUP_ROWS[0]), GROUP_ROWS[1])
    return 1 << (rows.bit_length() - 1)


def _width(kind: Any) -> int:
    types = arrow().types
    if types.is_fixed_size_list(kind):
        return kind.list_size * _width(kind.value_type)
    return max(1, kind.bit_width // 8) if types.is_primitive(kind) else _TEXT_BYTES
