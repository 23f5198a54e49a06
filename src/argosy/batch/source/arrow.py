"""Arrow IPC: files (Feather too) are mapped into memory and cut by rows, streams are read through."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

from argosy.batch.fragment import File, Fragment
from argosy.batch.place import Place
from argosy.batch.source.parquet import pieces
from argosy.batch.source.shape import arrow, check_content, checked, conformed, ends, reading, sliced
from argosy.spec.errors import Unsupported

_FILE, _OLD = b"ARROW1", b"FEA1"
_WHOLE = -1
"""The one position of a stream."""


def schema(file: File) -> Any:
    with _opened(file) as reader, reading(file.url, "Arrow IPC"):
        return checked(reader.schema, file.url)


def plan(file: File, rows: int) -> list[Fragment]:
    """See `Source`. A position is the first batch, the rows of it that come before, and the rows of the piece. Rows are
    counted in a column of few bytes."""
    content = ends(file)
    with _opened(file) as reader, reading(file.url, "Arrow IPC"):
        types = arrow().types
        widths = [field.type.bit_width if types.is_primitive(field.type) else 1024 for field in reader.schema]
    with _opened(file, only=[widths.index(min(widths))]) as reader, reading(file.url, "Arrow IPC"):
        if not hasattr(reader, "num_record_batches"):
            return [Fragment(file=file, index=0, position=(_WHOLE, 0, 0), first=0, content=content)]
        sizes = [reader.get_batch(number).num_rows for number in range(reader.num_record_batches)]
    found: list[Fragment] = []
    batch = before = 0
    for index, (start, end) in enumerate(pieces(sizes, rows)):
        while before + sizes[batch] <= start:
            before, batch = before + sizes[batch], batch + 1
        position = (batch, start - before, end - start)
        found.append(
            Fragment(file=file, index=index, position=position, first=start, rows=end - start, content=content)
        )
    return found


def read(fragment: Fragment, skip: int, batch_rows: int, schema: Any) -> Iterator[Any]:
    """See `Source`. What is not compressed is handed on as it lies in the file."""
    file = fragment.file
    check_content(fragment, ends(file))
    only: list[int] | None = None
    if Place(file.url).remote:  # fewer bytes have to come from far; on a disk, reading some columns alone copies them
        with _opened(file) as reader:
            only = sorted({at for name in schema.names if (at := reader.schema.get_field_index(name)) >= 0})
    with _opened(file, only=only) as reader:
        first, drop, rows = fragment.position
        drop, left = drop + skip, rows - skip
        for batch in _batches(reader, file, first):
            piece = batch.slice(min(drop, batch.num_rows))
            drop -= batch.num_rows - piece.num_rows
            if first != _WHOLE:
                piece = piece.slice(0, max(0, left))
                left -= piece.num_rows
            yield from sliced(conformed(piece, schema, fragment), batch_rows)
            if first != _WHOLE and left <= 0:
                return


def _batches(reader: Any, file: File, first: int) -> Iterator[Any]:
    """Batches whose values have been validated: what a broken file says of lengths could lead anywhere."""
    number = max(first, 0)
    while first == _WHOLE or number < reader.num_record_batches:
        with reading(file.url, "Arrow IPC"):
            try:
                batch = reader.read_next_batch() if first == _WHOLE else reader.get_batch(number)
            except StopIteration:
                return
            batch.validate(full=True)
        number += 1
        yield batch


@contextmanager
def _opened(file: File, only: list[int] | None = None) -> Generator[Any]:
    """A reader of a file or of a stream, by what it begins with, and of some columns alone."""
    ipc = arrow().ipc
    with Place(file.url).open(mapped=True) as handle:
        head = handle.read_at(min(file.size, len(_FILE)), 0)
        if head.startswith(_OLD):
            raise Unsupported(f"{file.url} is of the first version of Feather: write it again as Arrow IPC or Parquet")
        options = ipc.IpcReadOptions(included_fields=only) if only else ipc.IpcReadOptions()
        with reading(file.url, "Arrow IPC"):
            opened = ipc.open_file if head == _FILE else ipc.open_stream
            reader = opened(handle, options=options)
        with reader:
            yield reader
