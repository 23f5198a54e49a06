"""The end of a log file that another process appends to."""

import os
from pathlib import Path
from typing import BinaryIO

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


def last_words(path: Path, start: int = 0, mark: str = "") -> str:
    """The last line that says something, written after byte `start`, or what is told of a crash (see `spec/crash`); at
    most 500 characters of it. With a `mark` the last line that begins so, if there is one."""
    said = end(path, WORDS_BYTES, start).decode(errors="replace")
    marked = [line for line in said.splitlines() if line.startswith(mark)] if mark else []
    return (marked[-1] if marked else crash.last_words(said))[:500]


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


class Follower:
    """What is appended to a file after byte `position`. The file may be renamed and made anew, or copied to `NAME.1`
    and emptied in place."""

    def __init__(self, path: Path, position: int = 0) -> None:
        self.path = path
        self._file = path.open("rb")
        self._file.seek(position)
        self._copy: BinaryIO | None = None

    def __enter__(self) -> "Follower":
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self._file, self._copy):
            if file is not None:
                file.close()

    def read(self) -> bytes:
        """The next bytes, at most 64 KiB; none if nothing was written since the last call."""
        if (position := self._file.tell()) > os.fstat(self._file.fileno()).st_size:
            self._file.seek(0)
            copy = self.path.with_name(self.path.name + ".1")
            if copy.exists():
                self._copy = copy.open("rb")
                self._copy.seek(position)
        if self._copy is not None:
            if data := self._copy.read(_STEP):
                return data
            self._copy.close()
            self._copy = None
        if (data := self._file.read(_STEP)) or not self._replaced():
            return data
        self._file.close()
        self._file = self.path.open("rb")
        return self._file.read(_STEP)

    def _replaced(self) -> bool:
        try:
            now = os.stat(self.path)
        except FileNotFoundError:
            return False
        return not os.path.samestat(now, os.fstat(self._file.fileno()))
