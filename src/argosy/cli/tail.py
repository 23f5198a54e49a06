"""Following log files through rotation, truncation and new files."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

CHUNK = 1024 * 1024
Line = tuple[str, str]
"""Where a line comes from (the file's stem), and the line."""


class Follower:
    """New lines of one file. It may be renamed and made anew, or copied to `NAME.1` and emptied in place."""

    def __init__(self, path: Path, *, from_start: bool = False) -> None:
        self.path = path
        self._file = path.open("rb")
        self._rest = b""
        if not from_start:
            self._file.seek(0, os.SEEK_END)

    def lines(self) -> Iterator[str]:
        """The whole lines that came since the last call."""
        if os.fstat(self._file.fileno()).st_size < self._file.tell():
            yield from self._missed()
            self._file.seek(0)
        yield from self._read()
        if self._replaced():
            self._file.close()
            self._file = self.path.open("rb")
            yield from self._read()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _read(self) -> Iterator[str]:
        while data := self._file.read(CHUNK):
            yield from self._split(data)

    def _split(self, data: bytes) -> Iterator[str]:
        *whole, self._rest = (self._rest + data).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace")

    def _missed(self) -> Iterator[str]:
        """What was written after our last look and before the file was emptied is in its copy."""
        copy = self.path.with_name(self.path.name + ".1")
        if not copy.exists():
            return
        with copy.open("rb") as old:
            old.seek(self._file.tell())
            while data := old.read(CHUNK):
                yield from self._split(data)

    def _replaced(self) -> bool:
        try:
            now = os.stat(self.path)
        except FileNotFoundError:
            return False
        mine = os.fstat(self._file.fileno())
        return (now.st_dev, now.st_ino) != (mine.st_dev, mine.st_ino)


def follow(find: Callable[[], list[Path]], wait: Callable[[], bool]) -> Iterator[Line]:
    """New lines of every file that `find` names, also of files that appear later, until `wait` returns False."""
    followers = {path: Follower(path) for path in find()}
    while True:
        for path in find():
            if path not in followers:
                followers[path] = Follower(path, from_start=True)
        for path, follower in followers.items():
            yield from ((path.stem, line) for line in follower.lines())
        if not wait():
            break
    for follower in followers.values():
        follower.close()
