"""Advisory locks on files: the kernel gives one back when its holder dies. They exclude threads as well as processes.

A holder that ends may remove the file: who locks one makes sure that it still has its name.
"""

import errno
import fcntl
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

PAUSE = 0.02
"""Seconds between two attempts."""


def try_lock(fd: int, *, shared: bool = False, wait: bool = False) -> bool:
    """Lock an open file, alone or `shared` with others who share it; whether it is held, which it always is after
    waiting. Raises OSError."""
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        return False
    return True


@contextmanager
def lock(path: Path, *, shared: bool = False, wait: bool = True) -> Generator[bool]:
    """Hold the lock on a file that is there and stays. Yields whether it is held."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield try_lock(fd, shared=shared, wait=wait)
    finally:
        os.close(fd)


def take(path: Path, *, mode: int = 0o600, patience: float = 0.0) -> int:
    """The descriptor of the file at `path`, made if need be, locked for its owner alone until it is closed. Who asks
    for the holder has the lock for an instant: a little patience is due. Raises BlockingIOError after `patience`
    seconds, OSError."""
    limit = time.monotonic() + patience
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)
        try:
            held = try_lock(fd)
        except OSError:
            os.close(fd)
            raise
        if held and _named(fd, path):
            return fd
        os.close(fd)
        if not held:
            if time.monotonic() >= limit:
                raise BlockingIOError(errno.EAGAIN, "somebody else holds the lock", str(path))
            time.sleep(PAUSE)


def _named(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


def holder(path: Path) -> bytes | None:
    """What the holder of the lock has written into the file, at most 4 KiB; None where nobody holds it. Raises
    OSError, but not where there is no file."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return None if try_lock(fd) else os.pread(fd, 4096, 0)
    finally:
        os.close(fd)
