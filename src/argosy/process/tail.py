"""The end of a log file that another process appends to."""

import os
from pathlib import Path

from argosy.spec import crash

WORDS_BYTES = 64 * 1024
"""How far from its end the last words of a log are looked for."""
_STEP = 64 * 1024


def end(path: Path, size: int, start: int = 0) -> bytes:
    """The last `size` bytes, of those written after byte `start`; all are new where the file is shorter than that.
    Nothing where it cannot be read."""
    try:
        with path.open("rb") as file:
            whole = file.seek(0, os.SEEK_END)
            file.seek(max(start if start <= whole else 0, whole - size))
            return file.read(size)
    except OSError:
        return b""


def last_words(path: Path, start: int = 0) -> str:
    """The last line that says something, written after byte `start`, or what is told of a crash (see `spec/crash`); at
    most 500 characters of it."""
    return crash.last_words(end(path, WORDS_BYTES, start).decode(errors="replace"))[:500]


def lines(path: Path, count: int) -> tuple[int, bytes]:
    """Where the file ends, and its last `count` lines, read from the end. Raises OSError."""
    with path.open("rb") as file:
        whole = start = file.seek(0, os.SEEK_END)
        found = b""
        while start > 0 and found.count(b"\n") <= count:
            step = min(_STEP, start)
            start = file.seek(start - step)
            found = file.read(step) + found
    return whole, b"".join(found.splitlines(keepends=True)[-count:] if count else [])
