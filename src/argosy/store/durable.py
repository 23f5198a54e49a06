"""Writing so that a crash or a full disk leaves either the old state or the new one, never something between."""

import ctypes
import errno
import os
import secrets
import shutil
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

from argosy.spec.errors import StorageFull

CHUNK = 1024 * 1024
_HERE, _EXCHANGE = -100, 2
"""AT_FDCWD and RENAME_EXCHANGE of renameat2(2)."""
FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def storage(place: Path) -> Generator[None]:
    """Turn "no space left" and "quota exceeded" into StorageFull naming `place`."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise StorageFull(
                f"no space left on the disk of {place}; nothing was changed: free some and repeat"
            ) from error
        raise


def create_temporary(folder: Path) -> tuple[int, Path]:
    """A new file of our own in `folder`, open for writing."""
    path = folder / secrets.token_hex(16)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), path


def write_all(handle: int, data: bytes | memoryview) -> None:
    """Write every byte; the system may take fewer at a time."""
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def say(path: Path, data: bytes) -> None:
    """Put `data` at `path` atomically and not durably, by way of `NAME.new` beside it: for what one process tells
    others that run, which means nothing after a crash of the machine. Only one process may say it."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_bytes(data)
    fresh.replace(path)


def keep(path: Path, data: bytes) -> None:
    """`say` it where another thing, or nothing, lies there."""
    if not path.exists() or path.read_bytes() != data:
        say(path, data)


def replace(path: Path, data: bytes | memoryview, temporary: Path, *, mode: int = 0o644) -> None:
    """Put `data` at `path` atomically and durably, by way of a file in the folder `temporary` of the same disk."""
    handle, scratch = create_temporary(temporary)
    try:
        try:
            write_all(handle, data)
            os.fchmod(handle, mode)
            os.fsync(handle)
        finally:
            os.close(handle)
        os.rename(scratch, path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def exchange(one: Path, other: Path) -> None:
    """Swap two files or folders of one disk in one step, durably. Raises OSError (EINVAL, ENOSYS) where the system or
    the file system has no such step."""
    swap = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if swap is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if swap(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(one), None, str(other))
    for folder in {one.parent, other.parent}:
        sync_folder(folder)


def sweep(paths: Iterable[Path], older: float, now: float | None = None) -> int:
    """Delete the files and folders that have not been changed for `older` seconds; how many. Others may do the same."""
    count, before = 0, (time.time() if now is None else now) - older
    for path in paths:
        try:
            if path.stat().st_mtime < before:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()
                count += 1
        except FileNotFoundError:
            continue
    return count


def sync_file(path: Path) -> None:
    """Have a file outlive a crash, for its owner alone."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fchmod(handle, 0o600)
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
