"""Large files on their way into the store: each read once, hashed while it is written, several at a time.

Where the file system can, a copy shares the blocks of its source (FICLONE) and is only read. A file of somebody else is
never linked into the store: who writes to it later would change what the store has under its digest.
"""

import fcntl
import hashlib
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from argosy.process.cores import cores
from argosy.spec.errors import BadPackage
from argosy.store.durable import write_all

BLOCK = 4 * 1024 * 1024
"""Bytes read at a time; a file that is being copied takes two of these."""
_FICLONE = 0x40049409
_MOST_AT_ONCE = 8
_EVERY = 2.0
"""Seconds between two lines of progress."""

Report = Callable[[str], None]


class CopyProgress:
    """Bytes done of all, told every few seconds: the share, the rate, the time left. For any number of threads."""

    def __init__(self, what: str, total: int, report: Report, clock: Callable[[], float] = time.monotonic) -> None:
        self.what, self.total, self.report, self.clock = what, total, report, clock
        self.done, self.begun = 0, clock()
        self._told, self._lock = self.begun, threading.Lock()

    def add(self, count: int) -> None:
        with self._lock:
            self.done += count
            now = self.clock()
            if now - self._told < _EVERY or now <= self.begun:
                return
            self._told = now
            rate = self.done / (now - self.begun)
            left = (self.total - self.done) / max(rate, 1.0)
            share = self.done / max(self.total, 1)
        self.report(f"{self.what}: {share:.0%}, {rate / 1e6:.0f} MB/s, {_time(left)} left")


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def copy(files: Mapping[Path, Path], what: str, report: Report) -> dict[Path, str]:
    """Copy files (target → source), whose folders are there. Returns target → digest. Raises BadPackage for a source
    that changes meanwhile or is no regular file, OSError."""
    sizes = {target: source.stat().st_size for target, source in files.items()}
    progress = CopyProgress(what, sum(sizes.values()), report)
    with ThreadPoolExecutor(min(len(files), cores(), _MOST_AT_ONCE) or 1) as several:
        started = {
            target: several.submit(_copied, source, target, sizes[target], progress) for target, source in files.items()
        }
        try:
            return {target: each.result() for target, each in started.items()}
        except BaseException:
            several.shutdown(cancel_futures=True)
            raise


def _copied(source: Path, target: Path, size: int, progress: CopyProgress) -> str:
    reader = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        writer = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            shared = False
            with suppress(OSError):
                fcntl.ioctl(writer, _FICLONE, reader)
                shared = True
            digest, found = _hashed(writer if shared else reader, None if shared else writer, size, progress)
        finally:
            os.close(writer)
    finally:
        os.close(reader)
    if found != size:
        raise BadPackage(f"{source.name} changed while it was being read; push again when it is complete")
    return digest


def _hashed(reader: int, writer: int | None, size: int, progress: CopyProgress) -> tuple[str, int]:
    """Read to the end, or past `size`, each block hashed while it is written and the next is read. Digest, bytes."""
    hasher, total = hashlib.sha256(), 0
    free, busy = memoryview(bytearray(BLOCK)), memoryview(bytearray(BLOCK))
    with ThreadPoolExecutor(1) as beside:
        pending = beside.submit(hasher.update, b"")
        while total <= size and (count := os.readv(reader, [free])):
            pending.result()
            pending = beside.submit(hasher.update, free[:count])
            if writer is not None:
                write_all(writer, free[:count])
            total += count
            progress.add(count)
            free, busy = busy, free
        pending.result()
    return f"sha256:{hasher.hexdigest()}", total
