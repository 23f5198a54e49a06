"""Where a job reads and writes: a path of this machine or an address in a bucket, read, written and listed alike."""

import os
import secrets
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from argosy.engines.base import require, short
from argosy.spec.allow import BUCKETS
from argosy.spec.errors import InvalidArgument, NotFound, PermissionDenied, Unavailable
from argosy.store import objects
from argosy.store.durable import replace, storage, sync_folder

TEMPORARY = ".argosy-tmp"
"""The folder, beside a file, in which its next contents are written."""


class Stamp(msgspec.Struct, frozen=True):
    """Differs for a changed file, and is known without reading it: `mark` is mtime and inode, or the ETag."""

    size: int
    mark: str


class Place(msgspec.Struct, frozen=True, order=True):
    """One file or folder: `url` is an absolute path or an address of `store/objects`. Errors name it."""

    url: str

    def __str__(self) -> str:
        return self.url

    @property
    def remote(self) -> bool:
        """Whether it lies in a bucket."""
        return self.url.startswith(BUCKETS)

    @property
    def name(self) -> str:
        """The last part."""
        return self.url.rstrip("/").rpartition("/")[2]

    def join(self, name: str) -> "Place":
        """What lies below it under a relative name."""
        return Place(f"{self.url.rstrip('/')}/{name}")

    def open(self, *, mapped: bool = False) -> Any:
        """An Arrow file for reading at any position; `mapped` into memory where that is possible. Raises NotFound."""
        pa = require("pyarrow", "batch", "Batch")
        if self.remote:
            return pa.PythonFile(objects.ObjectFile(self.url), "r")
        with refused(self.url):
            return pa.memory_map(self.url) if mapped and os.path.getsize(self.url) else pa.OSFile(self.url)

    def read(self) -> bytes:
        """All of a small file. Raises NotFound."""
        if self.remote:
            return objects.read(self.url)
        with refused(self.url):
            return Path(self.url).read_bytes()

    def stamp(self) -> Stamp:
        """Its size and mark. Raises NotFound."""
        if self.remote:
            return Stamp(*objects.stat(self.url))
        with refused(self.url):
            found = os.stat(self.url)
        return Stamp(found.st_size, f"{found.st_mtime_ns}:{found.st_ino}")

    def exists(self) -> bool:
        """Whether there is such a file."""
        try:
            self.stamp()
        except NotFound:
            return False
        return True

    def put(self, data: bytes) -> None:
        """Store bytes under this name, whole or not at all; once this returns they are durable."""
        if self.remote:
            objects.put(self.url, data)
        else:
            with refused(self.url):
                replace(Path(self.url), data, self._scratch())

    def create(self, data: bytes) -> bool:
        """Store bytes under this name unless something is there; of several writers one gets True."""
        if self.remote:
            return objects.create(self.url, data)
        target = Path(self.url)
        with refused(self.url):
            scratch = self._scratch() / secrets.token_hex(16)
            replace(scratch, data, scratch.parent)
            try:
                os.link(scratch, target)
            except FileExistsError:
                return False
            finally:
                scratch.unlink(missing_ok=True)
            sync_folder(target.parent)
        return True

    def delete(self) -> None:
        """Delete a file; nothing happens where there is none."""
        if self.remote:
            objects.delete(self.url)
        else:
            with refused(self.url), suppress(FileNotFoundError):
                os.unlink(self.url)

    def walk(self) -> Iterator["Place"]:
        """The files below it, also by links, in no order; none where it is not there. Raises PermissionDenied."""
        if self.remote:
            yield from map(Place, objects.walk(self.url))
        else:
            with refused(self.url):
                yield from _files_below(self.url)

    def _scratch(self) -> Path:
        folder = Path(self.url).parent / TEMPORARY
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder


def _files_below(top: str) -> Iterator[Place]:
    def unreadable(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            raise error

    visited: set[str] = set()
    for folder, inner, names in os.walk(top, followlinks=True, onerror=unreadable):
        visited.add(os.path.realpath(folder))
        inner[:] = [name for name in inner if os.path.realpath(os.path.join(folder, name)) not in visited]
        yield from (Place(os.path.join(folder, name)) for name in names)


def place(text: str) -> Place:
    """The place of a path or of an address in a bucket. Raises InvalidArgument for another scheme."""
    parts = urlsplit(text)
    if text.startswith(BUCKETS):
        if not parts.netloc:
            raise InvalidArgument(f"'{text}' names no bucket: write {parts.scheme}://bucket/prefix")
        rest = text.removeprefix(f"{parts.scheme}://")
        return Place(f"{parts.scheme}://" + "/".join(part for part in rest.split("/") if part))
    if "://" in text and parts.scheme != "file":
        raise InvalidArgument(
            f"'{text}': data is read and written on this machine, in s3://, gs:// or az://, not in {parts.scheme}://"
        )
    if not text:
        raise InvalidArgument("an empty path names no data")
    return Place(os.path.abspath(os.path.expanduser(text.removeprefix("file://"))))


@contextmanager
def refused(path: str) -> Generator[None]:
    """Raise what the system refuses as the error that names the path."""
    try:
        with storage(Path(path)):
            yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"there is nothing at {path}") from error
    except PermissionError as error:
        raise PermissionDenied(f"{path} may not be read or written: {short(error, 300)}") from error
    except OSError as error:
        raise Unavailable(f"{path}: {short(error, 300)}") from error
