"""The unit of work: a piece of one input file that is read, answered and committed at once."""

import hashlib
from typing import Literal

import msgspec

InputFormat = Literal["parquet", "arrow", "csv", "jsonl", "npy"]

FAULT = "__argosy_fault"
"""A column that a source adds to a batch with rows it could not read: why not (a string), null for the others. Such a
row counts as read; its other columns have what could be."""


class File(msgspec.Struct, frozen=True):
    """An input file as it was when the job was planned: `size` in bytes, `mark` as in `place.Stamp`."""

    url: str
    format: InputFormat
    size: int
    mark: str


class Fragment(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a file.

    `index` counts the pieces of the file from 0. `position` says where the piece lies, in numbers that only its source
    understands (row groups, bytes, rows). `first` is the number of its first row in the file and `rows` how many it
    has; None: not known before it is read. `content` is what the source knows of the content without reading it, as the
    hash of a Parquet footer; the source's `read` raises Conflict where that is another one.
    """

    file: File
    index: int
    position: tuple[int, ...]
    first: int | None = None
    rows: int | None = None
    content: str = ""

    def id(self, recipe: str) -> str:
        """Its name, 32 hex digits: equal for equal content, position and `recipe` (the model's digest with all that
        changes the output)."""
        parts = (self.file.url, self.file.size, self.file.mark, self.index, self.position, self.content, recipe)
        return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:32]

    def where(self, row: int | None = None) -> str:
        """For messages: the file, and the piece or one row of it, counted from the piece's beginning."""
        if row is not None and self.first is not None:
            return f"{self.file.url}, row {self.first + row}"
        piece = f"{self.file.url}, fragment {self.index}"
        return piece if row is None else f"{piece}, row {row} of it"


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was written: its name below the output folder, rows, bytes and SHA-256 in hex."""

    name: str
    rows: int
    size: int
    digest: str
