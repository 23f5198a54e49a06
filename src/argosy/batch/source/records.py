"""Text in records that end with a line: found at their borders, however the text is cut, and never inside quotes."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from argosy.spec.errors import InvalidArgument
from argosy.spec.tensor import Array

CHUNK = 2 * 1024 * 1024
"""Bytes of text that are read together."""
LONGEST = 64 * 1024 * 1024
"""Bytes of one record; in a longer one a quote was not closed."""

_NEWLINE, _RETURN, _QUOTE = b'\n\r"'

Borders = Callable[[bytes], Array]
"""Text that begins at a record → the positions after each record that ends within it."""


class Chunk(NamedTuple):
    """Whole records: their text, and for each one that is not blank where it starts and ends in it."""

    text: bytes
    starts: Array
    ends: Array

    @property
    def rows(self) -> int:
        """How many records."""
        return len(self.starts)

    def record(self, row: int) -> bytes:
        """The text of one, without the end of its line."""
        return self.text[self.starts[row] : self.ends[row]].rstrip(b"\r\n")

    def after(self, rows: int) -> "Chunk":
        """Without the first few."""
        if not rows:
            return self
        cut = int(self.starts[rows]) if rows < self.rows else len(self.text)
        return Chunk(self.text[cut:], self.starts[rows:] - cut, self.ends[rows:] - cut)


def lines(text: bytes) -> Array:
    """The borders of JSON lines: every end of a line."""
    return np.flatnonzero(np.frombuffer(text, np.uint8) == _NEWLINE) + 1


def csv_lines(delimiter: bytes) -> Borders:
    """The borders of CSV: ends of lines outside quotes.

    A quote opens a field only at its start; two in a row inside are one that is meant; elsewhere it is a letter.
    """
    starters = np.frombuffer(delimiter + b'\n\r"', np.uint8)

    def borders(text: bytes) -> Array:
        ends = lines(text)
        if b'"' not in text:
            return ends
        letters = np.frombuffer(text, np.uint8)
        quotes = np.flatnonzero(letters == _QUOTE)
        opening = quotes[0::2]
        before = letters[opening[opening > 0] - 1]
        if not np.isin(before, starters).all():
            quotes = _turning(letters, quotes, set(starters.tolist()) - {_QUOTE})
        return ends[np.searchsorted(quotes, ends) % 2 == 0]

    return borders


def _turning(letters: Array, quotes: Array, starters: set[int]) -> Array:
    """The quotes that open or close a field, where some are letters of an unquoted one."""
    found: list[int] = []
    inside = False
    for place in quotes.tolist():
        before = int(letters[place - 1]) if place else _NEWLINE
        again = bool(found) and found[-1] == place - 1  # the second of two: a closing quote that was none
        if inside or again or before in starters:
            found.append(place)
            inside = not inside
    return np.array(found, dtype=np.int64)


def chunks(read: Callable[[int], bytes], borders: Borders, where: str, size: int = CHUNK) -> Iterator[Chunk]:
    """Whole records, about `size` bytes at a time, of a stream that begins at a record. Raises InvalidArgument."""
    rest = b""
    while True:
        new = read(max(size, len(rest)))
        text = rest + new
        if not text:
            return
        ends = borders(text)
        if not new and (not len(ends) or ends[-1] < len(text)):
            ends = np.append(ends, len(text))
        if not len(ends):
            if len(text) > LONGEST:
                raise InvalidArgument(
                    f"{where} has a record of more than {LONGEST // 2**20} MiB; is a quote never closed?"
                )
            rest = text
            continue
        last = int(ends[-1])
        rest = text[last:]
        yield _chunk(text[:last], ends)
        if not new:
            return


def _chunk(text: bytes, ends: Array) -> Chunk:
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]])
    letters = np.frombuffer(text, np.uint8)[starts]
    blank = np.zeros(len(ends), dtype=bool)
    for row in np.flatnonzero((letters == _NEWLINE) | (letters == _RETURN)).tolist():
        blank[row] = not text[starts[row] : ends[row]].strip(b"\r\n")
    return Chunk(text, starts[~blank], ends[~blank])
