"""Files that callers of the gateway upload, and those that batches of requests make: each belongs to one key."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from argosy.spec.errors import NotFound, PayloadTooLarge
from argosy.store import durable

KEY_BYTES, ALL_BYTES, MOST, KEPT = 1024**3, 8 * 1024**3, 1000, 30 * 24 * 3600
"""Of the files of one key, and of all of them; files, and batches, of one key; seconds that a file is kept."""


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A file with the fields that OpenAI's clients know, and the id of its owner's key."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: str
    status: Literal["processed"] = "processed"
    key: str


class Files:
    """The files in a folder: `ID.data` beside `ID.json`. What has no ending was being written when a platform ended."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self.folder, self._clock = folder, clock
        self._found: dict[str, File] = {}

    def load(self) -> None:
        """Read what is there, and remove what was not finished."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        for path in self.folder.iterdir():
            if not path.suffix:
                path.unlink()
        read = (msgspec.json.decode(path.read_bytes(), type=File) for path in self.folder.glob("file-*.json"))
        self._found = {each.id: each for each in read}

    def data(self, id: str) -> Path:
        return self.folder / f"{id}.data"

    def get(self, id: str, key: str) -> File:
        """Raises NotFound, also for a file of another key."""
        found = self._found.get(id)
        if found is None or found.key != key:
            raise NotFound(f"there is no file '{id[:80]}' of this key")
        return found

    def of(self, key: str) -> list[File]:
        """Those of a key, newest first."""
        return sorted((each for each in self._found.values() if each.key == key), key=lambda each: -each.created_at)

    def check_room(self, key: str, size: int) -> None:
        """Raises PayloadTooLarge where so many more bytes would be too much."""
        own, known = self.of(key), sum(each.bytes for each in self._found.values())
        if len(own) >= MOST or sum(each.bytes for each in own) + size > KEY_BYTES or known + size > ALL_BYTES:
            raise PayloadTooLarge(f"{MOST} files, {KEY_BYTES} bytes of a key, {ALL_BYTES} of all are kept: delete some")

    def add(self, id: str, source: Path, *, key: str, name: str, purpose: str) -> File:
        """Take a file over, which is durable and in the folder. Doing it again after a crash changes nothing."""
        if source != self.data(id):
            durable.sync_file(source)
            source.rename(self.data(id))
        now, size = int(self._clock()), self.data(id).stat().st_size
        file = File(id=id, bytes=size, created_at=now, expires_at=now + KEPT, filename=name, purpose=purpose, key=key)
        durable.replace(self.folder / f"{id}.json", msgspec.json.encode(file), self.folder, mode=0o600)
        self._found[id] = file
        return file

    def delete(self, id: str) -> None:
        """Its record first: what is left without one is removed with the next call."""
        self._found.pop(id, None)
        (self.folder / f"{id}.json").unlink(missing_ok=True)
        self.data(id).unlink(missing_ok=True)

    def expired(self) -> list[str]:
        """Whose time is over."""
        return [each.id for each in self._found.values() if each.expires_at <= self._clock()]
