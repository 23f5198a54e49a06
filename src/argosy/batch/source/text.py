"""Text files in records, CSV and JSON lines alike: cut at the borders of records, or read through where compressed."""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

from argosy.batch.find import codec_of
from argosy.batch.fragment import File, Fragment
from argosy.batch.place import Place
from argosy.batch.source.records import Borders, Chunk, chunks
from argosy.batch.source.shape import arrow, check_content, ends, reading, sliced
from argosy.spec.errors import InvalidArgument

BOM = b"\xef\xbb\xbf"
UTF16 = (b"\xff\xfe", b"\xfe\xff")


def records(file: File, borders: Borders, start: int = 0, end: int | None = None) -> Iterator[Chunk]:
    """The records of a file, or of a range of its bytes that begins at one. A byte order mark is no part of them.

    Raises InvalidArgument for what is not compressed as its name says, and for UTF-16.
    """
    with _stream(file, start, end) as stream:
        first = b"" if start else stream.read(len(BOM))
        if first[:2] in UTF16:
            raise InvalidArgument(f"{file.url} is UTF-16; write it as UTF-8, for example with iconv")
        waiting = first.removeprefix(BOM)

        def read(size: int) -> bytes:
            nonlocal waiting
            with reading(file.url, "text"):
                found, waiting = waiting + stream.read(size), b""
            return found

        yield from chunks(read, borders, file.url)


@contextmanager
def _stream(file: File, start: int, end: int | None) -> Generator[Any]:
    with Place(file.url).open() as handle:
        codec = codec_of(file.url)
        if codec:
            with arrow().CompressedInputStream(handle, codec) as stream:
                yield stream
        else:
            yield handle.get_stream(start, (file.size if end is None else end) - start)


def cut(file: File, borders: Borders, rows: int, header: int) -> list[Fragment]:
    """Pieces of exactly `rows` records but the last, the first `header` records left out.

    A position is the first byte and the one after the last. A compressed file, which can be read only from its
    beginning, is one piece, whose rows nobody has counted.
    """
    content = ends(file)
    if codec_of(file.url):
        return [Fragment(file=file, index=0, position=(0, file.size), first=0, content=content)]
    found: list[Fragment] = []
    with Place(file.url).open() as handle:
        base = begin = len(BOM) if handle.read_at(min(file.size, len(BOM)), 0) == BOM else 0
    count = done = 0

    def piece(end: int) -> None:
        found.append(
            Fragment(file=file, index=len(found), position=(begin, end), first=done, rows=count, content=content)
        )

    for chunk in records(file, borders):
        place, left = 0, header
        header = max(0, header - chunk.rows)
        while place < chunk.rows:
            if left:
                place, left = min(chunk.rows, place + left), 0
                begin = base + int(chunk.ends[place - 1])
                continue
            taken = min(rows - count, chunk.rows - place)
            place, count = place + taken, count + taken
            if count == rows:
                end = base + int(chunk.ends[place - 1])
                piece(end)
                begin, done, count = end, done + rows, 0
        base += len(chunk.text)
    if count:
        piece(file.size)
    return found


def rows_of(
    fragment: Fragment, borders: Borders, skip: int, header: int, batch_rows: int, parse: Callable[[Chunk], Any]
) -> Iterator[Any]:
    """The rows of a piece as batches. `header` records come before the rows of a whole file."""
    check_content(fragment, ends(fragment.file))
    left = skip + (header if codec_of(fragment.file.url) else 0)
    for chunk in records(fragment.file, borders, *fragment.position):
        passed = min(left, chunk.rows)
        left -= passed
        if passed < chunk.rows:
            yield from sliced(parse(chunk.after(passed)), batch_rows)
