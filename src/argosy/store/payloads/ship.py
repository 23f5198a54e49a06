"""Segments into an object store: each under its path, so that sending one twice changes nothing."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

import msgspec

from argosy.spec.errors import ArgosyError, InvalidArgument, Unavailable
from argosy.store.durable import replace, sync_folder
from argosy.store.payloads import layout
from argosy.store.payloads.encode import arrow
from argosy.store.payloads.layout import Segment
from argosy.store.payloads.segment import make_folder


class ObjectStore(Protocol):
    """Where segments are put. An object appears whole or not at all."""

    def put(self, key: str, path: Path) -> None:
        """Store the file under `key`; when this returns it is there for good. Raises Unavailable."""
        ...


class FolderStore:
    """A folder: another disk, a mount."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, key: str, path: Path) -> None:
        """Copy it, durably."""
        data = path.read_bytes()
        try:
            make_folder((self.root / key).parent, self.root)
            temporary = self.root / layout.TEMPORARY
            temporary.mkdir(exist_ok=True, mode=0o700)
            replace(self.root / key, data, temporary, mode=0o600)
        except OSError as error:
            raise Unavailable(f"the folder {self.root} does not take {key}: {error.strerror}") from error


class S3Store:
    """A bucket of S3 or of anything that speaks its protocol.

    Credentials, region and address come from the environment as AWS's own tools have them: `AWS_ACCESS_KEY_ID`,
    `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION`, `AWS_ENDPOINT_URL`.
    """

    def __init__(self, place: str, environ: Mapping[str, str] = os.environ) -> None:
        arrow()
        import pyarrow.fs

        fs = cast("Any", pyarrow.fs)

        options: dict[str, Any] = {"connect_timeout": 5, "request_timeout": 30}
        if address := environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL"):
            parts = urlsplit(address)
            options |= {"scheme": parts.scheme, "endpoint_override": parts.netloc}
        names = {
            "access_key": "AWS_ACCESS_KEY_ID",
            "secret_key": "AWS_SECRET_ACCESS_KEY",
            "session_token": "AWS_SESSION_TOKEN",
            "region": "AWS_REGION",
        }
        options |= {name: environ[variable] for name, variable in names.items() if environ.get(variable)}
        self.place = place
        self._files: Any = fs.S3FileSystem(**options)

    def put(self, key: str, path: Path) -> None:
        """Upload it in one piece, and look that it has arrived."""
        data, where = path.read_bytes(), f"{self.place}/{key}"
        try:
            with self._files.open_output_stream(where, buffer_size=0) as stream:
                stream.write(data)
            size = self._files.get_file_info(where).size
        except OSError as error:
            raise Unavailable(f"s3://{where} was not taken: {str(error)[:300]}") from error
        if size != len(data):
            raise Unavailable(f"s3://{where} has {size} bytes after an upload of {len(data)}")


def object_store(url: str) -> ObjectStore:
    """The store of `s3://bucket/prefix` or of a folder's path. Raises InvalidArgument."""
    parts = urlsplit(url)
    if parts.scheme == "s3" and parts.netloc:
        return S3Store(f"{parts.netloc}{parts.path}".rstrip("/"))
    if parts.scheme in ("", "file") and parts.path.startswith("/"):
        return FolderStore(Path(parts.path))
    raise InvalidArgument(f"'{url}' is no object store: give s3://bucket/prefix or the absolute path of a folder")


class Shipped(msgspec.Struct, frozen=True, kw_only=True):
    """What one turn did. `error` is why it ended early."""

    sent: tuple[str, ...]
    left: int = 0
    error: str = ""


def shipped(root: Path) -> set[str]:
    """The keys that were sent, as marked in `.shipped`."""
    marks = root / layout.SHIPPED
    return {path.relative_to(marks).as_posix() for path in marks.rglob("*.parquet")}


def ship(root: Path, found: Iterable[Segment], store: ObjectStore) -> Shipped:
    """Send what has no mark yet, oldest first, and mark it after it has arrived. The first failure ends the turn.

    A crash between the two sends a segment again, to the same key with the same bytes: until it has arrived it is under
    way, and stays as it is.
    """
    done = shipped(root)
    waiting = [segment for segment in sorted(found) if segment.key not in done]
    sent: list[str] = []
    for segment in waiting:
        way = _way(root, segment.key)
        make_folder(way.parent, root)
        way.touch()
        sync_folder(way.parent)
        try:
            store.put(segment.key, root / segment.key)
        except FileNotFoundError:
            way.unlink()
            continue
        except ArgosyError as error:
            return Shipped(sent=tuple(sent), left=len(waiting) - len(sent), error=error.message)
        way.replace(root / layout.SHIPPED / segment.key)
        sent.append(segment.key)
    return Shipped(sent=tuple(sent))


def under_way(root: Path, key: str) -> bool:
    """Whether a segment may have arrived, and may not."""
    return _way(root, key).exists()


def mark(root: Path, key: str) -> None:
    """Note that the object store has the rows of a segment."""
    path = root / layout.SHIPPED / key
    make_folder(path.parent, root)
    path.touch()
    sync_folder(path.parent)


def forget(root: Path, key: str) -> None:
    """Take off what is noted of a segment that is gone."""
    for path in (root / layout.SHIPPED / key, _way(root, key)):
        path.unlink(missing_ok=True)


def _way(root: Path, key: str) -> Path:
    return root / layout.SHIPPED / f"{key}.way"
