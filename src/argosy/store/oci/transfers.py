"""What outlives a kill, so that a push or a pull goes on: open uploads, parts of blobs; and where blobs were seen."""

import contextlib
import hashlib
from collections.abc import Generator
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec

from argosy.process.flock import lock
from argosy.store.durable import say as write
from argosy.store.durable import storage, sweep

KEPT = 7 * 24 * 3600.0
"""Seconds after which what did not go on is deleted."""
MOST_KNOWN = 10_000


class Upload(msgspec.Struct, frozen=True):
    """An upload that a registry has open: where it goes on, and how many bytes were taken."""

    location: str
    offset: int


class Transfers:
    """A folder on the disk of a store. Any number of processes may use it: each blob is locked while it is moved."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with storage(folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        sweep((each for each in folder.iterdir() if each.suffix != ".lock"), KEPT)

    def part(self, digest: str) -> Path:
        """Where a blob grows while it is pulled."""
        return self.folder / digest.removeprefix("sha256:")

    def moving(self, name: str) -> AbstractContextManager[None]:
        """Be the only one who moves this blob: others wait."""
        return self._alone(hashlib.sha256(name.encode()).hexdigest()[:2])

    def fetching(self, digest: str) -> AbstractContextManager[None]:
        """Be the only one who fetches this package: others wait."""
        return self._alone(f"package-{digest[-2:]}")

    def adopting(self) -> AbstractContextManager[None]:
        """Be the only one who moves whole blobs from here into a store."""
        return self._alone("adopting")

    @contextlib.contextmanager
    def _alone(self, name: str) -> Generator[None]:
        path = self.folder / f"{name}.lock"
        with storage(path):
            path.touch(mode=0o600)
        with lock(path):
            yield

    def upload(self, place: str, digest: str) -> Upload | None:
        """The upload of a blob to a repository that was not finished."""
        with contextlib.suppress(OSError, msgspec.DecodeError):
            return msgspec.json.decode(self._state(place, digest).read_bytes(), type=Upload)
        return None

    def save(self, place: str, digest: str, upload: Upload) -> None:
        with storage(self.folder):
            write(self._state(place, digest), msgspec.json.encode(upload))

    def done(self, place: str, digest: str) -> None:
        """A blob is in a repository: forget its upload."""
        self._state(place, digest).unlink(missing_ok=True)

    def repository(self, host: str, digest: str) -> str:
        """A repository of this registry that was seen to have a blob; empty without."""
        return self._known(host).get(digest, "")

    def seen(self, host: str, repository: str, digests: list[str]) -> None:
        """A repository has these blobs."""
        with self.moving(f"known {host}"):
            known = {**self._known(host), **dict.fromkeys(digests, repository)}
            last = dict(list(known.items())[-MOST_KNOWN:])
            with storage(self.folder):
                write(self._file(f"known {host}"), msgspec.json.encode(last))

    def _known(self, host: str) -> dict[str, str]:
        with contextlib.suppress(OSError, msgspec.DecodeError):
            return msgspec.json.decode(self._file(f"known {host}").read_bytes(), type=dict[str, str])
        return {}

    def _state(self, place: str, digest: str) -> Path:
        return self._file(f"{place}@{digest}")

    def _file(self, name: str) -> Path:
        return self.folder / f"{hashlib.sha256(name.encode()).hexdigest()}.json"
