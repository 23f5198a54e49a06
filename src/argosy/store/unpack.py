"""From blobs to a folder: every file hashed on its way, the folder there at once or not at all."""

import errno
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from argosy.spec.errors import ArgosyError, Conflict
from argosy.store.blobs import Blobs, check_file
from argosy.store.durable import create_temporary, storage, sweep, sync_folder, write_all
from argosy.store.manifest import Descriptor
from argosy.store.paths import walk

STAGING = ".unpack-"
STALE = 24 * 3600.0
NO_LINK = (errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOTSUP)


def unpack(blobs: Blobs, files: Mapping[str, Descriptor], into: Path) -> Path:
    """Lay the files out in the folder `into`: hard links to the blobs where the disk allows, copies elsewhere.

    A folder that holds exactly these files already is hashed and taken as it is. Raises BadPackage naming an altered
    file, Conflict if `into` holds something else, StorageFull; each leaves nothing behind.
    """
    if into.is_symlink() or (into.exists() and (not into.is_dir() or any(into.iterdir()))):
        return _accept(into, files)
    into.parent.mkdir(parents=True, exist_ok=True)
    sweep(into.parent.glob(STAGING + "*"), STALE)
    with storage(into.parent):
        staging = Path(tempfile.mkdtemp(prefix=STAGING, dir=into.parent))
        try:
            for path, descriptor in files.items():
                _place(blobs, descriptor, staging, path)
            for folder, _, _ in os.walk(staging, topdown=False):
                sync_folder(Path(folder))
            os.chmod(staging, 0o755)
            os.rename(staging, into)
            sync_folder(into.parent)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            return _accept(into, files)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return into


def has_exactly(folder: Path, files: Mapping[str, Descriptor]) -> bool:
    """Whether the folder has exactly these files, by names and sizes."""
    limit = sum(descriptor.size for descriptor in files.values())
    try:
        found = {entry.path: entry.size for entry in walk(folder, limit)}
    except (ArgosyError, OSError):
        return False
    return found == {path: descriptor.size for path, descriptor in files.items()}


def check(folder: Path, files: Mapping[str, Descriptor]) -> None:
    """Hash the files of an unpacked folder again. Raises BadPackage naming the first that is altered."""
    for path, descriptor in files.items():
        check_file(folder / path, descriptor, f"the file '{path}'")


def intact(folder: Path, files: Mapping[str, Descriptor]) -> bool:
    """Whether the folder has exactly these files, by names and contents."""
    try:
        if not has_exactly(folder, files):
            return False
        check(folder, files)
    except (ArgosyError, OSError):
        return False
    return True


def _accept(into: Path, files: Mapping[str, Descriptor]) -> Path:
    if not has_exactly(into, files):
        raise Conflict(f"{into} exists and holds something else; name a folder that does not exist yet")
    check(into, files)
    return into


def _place(blobs: Blobs, descriptor: Descriptor, staging: Path, path: str) -> None:
    target = staging / path
    target.parent.mkdir(parents=True, exist_ok=True)
    what = f"the file '{path}'"
    try:
        os.link(blobs.path(descriptor.digest), target, follow_symlinks=False)
    except FileNotFoundError:
        blobs.check(descriptor, what)
        raise
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        handle, scratch = create_temporary(target.parent)
        try:
            blobs.check(descriptor, what, lambda chunk: write_all(handle, chunk))
            os.fchmod(handle, 0o444)
            os.fsync(handle)
        finally:
            os.close(handle)
        os.rename(scratch, target)
    else:
        check_file(target, descriptor, what)
