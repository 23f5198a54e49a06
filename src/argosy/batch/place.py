"""Where a job reads and writes: a path of this machine or an address in a bucket, read, written and listed alike."""

import os
import secrets
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec

from argosy.batch import signed
from argosy.engines.base import require, short
from argosy.spec.errors import ArgosyError, InvalidArgument, NotFound, PermissionDenied, Unavailable
from argosy.store.durable import replace, storage, sync_folder

SCHEME = "s3://"
TEMPORARY = ".argosy-tmp"
"""The folder, beside a file, in which its next contents are written."""

_CHUNK = 8 * 1024 * 1024


class Stamp(msgspec.Struct, frozen=True):
    """What tells a changed file from the same one without reading it: `mark` is mtime and inode, or the ETag."""

    size: int
    mark: str


class Place(msgspec.Struct, frozen=True, order=True):
    """One file or folder: `url` is an absolute path or `s3://bucket/key`. Errors name it.

    Credentials, region and address of a bucket come from the environment as AWS's own tools have them:
    `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION`, `AWS_ENDPOINT_URL`.
    """

    url: str

    def __str__(self) -> str:
        return self.url

    @property
    def remote(self) -> bool:
        """Whether it lies in a bucket."""
        return self.url.startswith(SCHEME)

    @property
    def name(self) -> str:
        """The last part."""
        return self.url.rstrip("/").rpartition("/")[2]

    @property
    def parent(self) -> "Place":
        """The folder it lies in."""
        return Place(self.url.rstrip("/").rpartition("/")[0] or "/")

    @property
    def path(self) -> str:
        """As the file system of Arrow names it."""
        return self.url.removeprefix(SCHEME)

    def join(self, name: str) -> "Place":
        """What lies below it under a relative name."""
        return Place(f"{self.url.rstrip('/')}/{name}")

    def open(self, *, mapped: bool = False) -> Any:
        """An Arrow file for reading at any position; `mapped` into memory where that is possible. Raises NotFound."""
        pa = require("pyarrow", "batch", "Batch")
        with refused(self):
            if self.remote:
                return files().open_input_file(self.path)
            return pa.memory_map(self.path) if mapped and os.path.getsize(self.path) else pa.OSFile(self.path)

    def read(self) -> bytes:
        """All of a small file. Raises NotFound."""
        with refused(self):
            if not self.remote:
                return Path(self.path).read_bytes()
            with files().open_input_stream(self.path) as stream:
                return bytes(stream.read())

    def stamp(self) -> Stamp:
        """What it is now. Raises NotFound."""
        with refused(self):
            if not self.remote:
                found = os.stat(self.path)
                return Stamp(found.st_size, f"{found.st_mtime_ns}:{found.st_ino}")
            with files().open_input_file(self.path) as file:
                return Stamp(file.size(), file.metadata().get("ETag", b"").decode())

    def exists(self) -> bool:
        """Whether there is such a file or folder."""
        if not self.remote:
            return os.path.exists(self.path)
        with refused(self):
            return files().get_file_info(self.path).type.name != "NotFound"

    def make_folder(self) -> None:
        """Make the folder and those above it; a bucket needs none."""
        if not self.remote:
            with refused(self):
                os.makedirs(self.path, exist_ok=True)

    def put(self, data: bytes | Path) -> None:
        """Store bytes, or a local file's, under this name, whole or not at all; once this returns they are durable."""
        if self.remote:
            self._upload(data)
            return
        if isinstance(data, Path):
            self._copy(data)
            return
        with refused(self):
            replace(Path(self.path), data, self._scratch())

    def create(self, data: bytes) -> bool:
        """Store bytes under this name unless something is there (False): of several writers one is told True.

        In a bucket the store decides (`If-None-Match`). Where the keys are a machine's own role, which cannot be
        signed with here, it is looked up first and read back: enough against a second start, not against a race.
        """
        if self.remote:
            if signed.can_create():
                bucket, _, key = self.path.partition("/")
                return signed.create(bucket, key, data)
            if self.exists():
                return False
            self._upload(data)
            return self.read() == data
        target = Path(self.path)
        with refused(self):
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

    def move(self, to: "Place") -> None:
        """Give a local file another name on the same disk, durably."""
        if self.remote:
            raise InvalidArgument(f"{self}: objects are put under their last name; they cannot be moved")
        with refused(self):
            os.makedirs(os.path.dirname(to.path), exist_ok=True)
            os.replace(self.path, to.path)
            sync_folder(Path(to.path).parent)

    def delete(self) -> None:
        """Delete a file; nothing happens where there is none."""
        with refused(self), suppress(FileNotFoundError):
            if self.remote:
                files().delete_file(self.path)
            else:
                os.unlink(self.path)

    def walk(self) -> Iterator["Place"]:
        """The files below it, also by links, in no order; none where it is not there. Raises PermissionDenied."""
        if not self.remote:
            with refused(self):
                yield from _files_below(self.path)
            return
        fs = require("pyarrow.fs", "batch", "Batch")
        with refused(self):
            found = files().get_file_info(fs.FileSelector(self.path, allow_not_found=True, recursive=True))
        yield from (Place(SCHEME + info.path) for info in found if info.is_file)

    def _scratch(self) -> Path:
        folder = Path(self.path).parent / TEMPORARY
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder

    def _copy(self, source: Path) -> None:
        with refused(self):
            scratch = self._scratch() / secrets.token_hex(16)
            try:
                with source.open("rb") as given, scratch.open("xb") as taken:
                    while chunk := given.read(_CHUNK):
                        taken.write(chunk)
                    taken.flush()
                    os.fsync(taken.fileno())
                os.replace(scratch, self.path)
            finally:
                scratch.unlink(missing_ok=True)
            sync_folder(Path(self.path).parent)

    def _upload(self, data: bytes | Path) -> None:
        """An Arrow stream that is dropped stores what it has: what was cut short is deleted again."""
        size = len(data) if isinstance(data, bytes) else data.stat().st_size
        with refused(self):
            stream = files().open_output_stream(self.path)
            try:
                for chunk in (data,) if isinstance(data, bytes) else _chunks(data):
                    stream.write(chunk)
                stream.close()
            except BaseException:
                with suppress(OSError):
                    stream.close()
                with suppress(OSError):
                    files().delete_file(self.path)
                raise
            arrived = files().get_file_info(self.path).size
        if arrived != size:
            raise Unavailable(f"{self} has {arrived} bytes after an upload of {size}")


def _files_below(top: str) -> Iterator[Place]:
    def unreadable(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            raise error

    seen: set[str] = set()
    for folder, inner, names in os.walk(top, followlinks=True, onerror=unreadable):
        seen.add(os.path.realpath(folder))
        inner[:] = [name for name in inner if os.path.realpath(os.path.join(folder, name)) not in seen]
        yield from (Place(os.path.join(folder, name)) for name in names)


def place(text: str) -> Place:
    """The place of a path or of `s3://bucket/prefix`. Raises InvalidArgument for another scheme."""
    parts = urlsplit(text)
    if text.startswith(SCHEME):
        if not parts.netloc:
            raise InvalidArgument(f"'{text}' names no bucket: write s3://bucket/prefix")
        return Place(SCHEME + "/".join(part for part in text.removeprefix(SCHEME).split("/") if part))
    if "://" in text and parts.scheme != "file":
        raise InvalidArgument(
            f"'{text}': data is read and written on this machine or in s3://, not in {parts.scheme}://"
        )
    if not text:
        raise InvalidArgument("an empty path names no data")
    return Place(os.path.abspath(os.path.expanduser(text.removeprefix("file://"))))


@cache
def files() -> Any:
    """The objects of S3, or of what AWS_ENDPOINT_URL names, for this process."""
    fs = require("pyarrow.fs", "batch", "Batch on S3")
    options: dict[str, Any] = {"connect_timeout": 5, "request_timeout": 60}
    if address := os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"):
        parts = urlsplit(address)
        options |= {"scheme": parts.scheme, "endpoint_override": parts.netloc}
    if region := os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"):
        options["region"] = region
    return cast("Any", fs).S3FileSystem(**options)


@contextmanager
def refused(where: Place) -> Generator[None]:
    """Turn what the system or Arrow refuses into the error that names the place."""
    try:
        with storage(Path(where.path)):
            yield
    except OSError as error:
        raise refusal(error, where) from error


def refusal(error: OSError, where: Place) -> ArgosyError:
    """What Arrow or the system said, as one of our errors."""
    text = short(error, 300)
    if isinstance(error, FileNotFoundError) or "NO_SUCH_BUCKET" in text:
        return NotFound(f"there is nothing at {where}")
    if isinstance(error, PermissionError) or "ACCESS_DENIED" in text or "SIGNATURE" in text.upper():
        return PermissionDenied(f"{where} may not be read or written: {text}")
    return Unavailable(f"{where}: {text}")


def _chunks(source: Path) -> Iterator[bytes]:
    with source.open("rb") as given:
        while chunk := given.read(_CHUNK):
            yield chunk
