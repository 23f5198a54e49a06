"""Where the labels of an endpoint lie, and which files are valid: those that the manifest names.

Every step writes new files and then replaces the manifest; what a crash leaves between is removed by the next step.
"""

import secrets
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import msgspec

from argosy.process.flock import lock
from argosy.store.durable import replace, sync_folder

JOURNAL = ".journal"


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What was joined so far. Paths are relative to the folder, those of `segments` to the payload log.

    `joined` has, by the UTC day of the prediction, files of labelled predictions; `cohorts` one file of counts a day;
    `served` files of how many predictions there were; `pending` labels whose prediction is unknown; `expired` counts
    labels that waited too long for one.
    """

    generation: int = 0
    labels: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    joined: dict[str, tuple[str, ...]] = {}
    cohorts: dict[str, str] = {}
    served: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    expired: int = 0

    def named(self) -> set[str]:
        """Every file of the folder's own making that is valid."""
        return {
            *self.cohorts.values(),
            *self.served,
            *self.pending,
            *(f for files in self.joined.values() for f in files),
        }


class LabelFolder:
    """The folder `endpoint=NAME` of the labels' root."""

    def __init__(self, above: Path, endpoint: str) -> None:
        self.endpoint = endpoint
        self.root = above / f"endpoint={quote(endpoint, safe='')}"
        self.labels = self.root / "labels"
        self.made = self.root / "made"
        self.temporary = self.root / ".tmp"

    def create(self) -> "LabelFolder":
        for folder in (self.root, self.labels, self.made, self.temporary):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self

    @contextmanager
    def locked(self, marker: str = ".lock") -> Generator[None]:
        """One process at a time changes the folder or, with the marker `JOURNAL`, the journal, and that none for long:
        labels do not wait for a join."""
        path = self.create().root / marker
        path.touch(mode=0o600)
        with lock(path):
            yield

    def journal(self, key: str = "") -> Path:
        """Where labels of this sender wait for the next join: the id of a key, which is safe in a file's name."""
        return self.root / (f"journal.{key}.jsonl" if key else "journal.jsonl")

    def journals(self) -> list[Path]:
        """Those of all senders."""
        return sorted(self.root.glob("journal*.jsonl"))

    def manifest(self) -> Manifest:
        """What is valid now."""
        try:
            return msgspec.json.decode((self.root / "manifest.json").read_bytes(), type=Manifest)
        except FileNotFoundError:
            return Manifest()

    def commit(self, manifest: Manifest) -> None:
        """Make it so, durably, and remove what is valid no more."""
        sync_folder(self.made)
        replace(self.root / "manifest.json", msgspec.json.encode(manifest), self.temporary, mode=0o600)
        self.clean(manifest)

    def read(self) -> set[str]:
        """The segments of the payload log that were joined."""
        return set(self.manifest().segments)

    def holds(self, fresh: Sequence[str]) -> None:
        """These segments have the rows of some that were joined. To be called while nobody reads the log."""
        manifest = self.manifest()
        self.commit(msgspec.structs.replace(manifest, segments=(*manifest.segments, *fresh)))

    def clean(self, manifest: Manifest) -> None:
        """Remove files that no manifest names."""
        named = manifest.named()
        for path in self.made.iterdir():
            if f"made/{path.name}" not in named:
                path.unlink(missing_ok=True)

    def label_files(self) -> list[str]:
        return sorted(f"labels/{path.name}" for path in self.labels.glob("*.parquet"))

    def path(self, name: str) -> Path:
        """The file of a name in the manifest."""
        return self.root / name

    def size(self, name: str) -> int:
        """Its bytes; 0 where it is gone."""
        try:
            return self.path(name).stat().st_size
        except FileNotFoundError:
            return 0

    def new(self, what: str) -> str:
        """A name for a file that is about to be made."""
        return f"made/{what}-{secrets.token_hex(8)}.parquet"
