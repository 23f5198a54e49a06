"""`index.json`: the manifests of a layout and their tags. Edits are pure functions over its entries."""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from argosy.process.flock import lock
from argosy.spec.strict import parse
from argosy.store.durable import replace, storage
from argosy.store.manifest import INDEX, REF_NAME, Descriptor, canonical

MAX_INDEX = 256 * 1024 * 1024
SUBJECT = "dev.argosy.subject"

Entries = tuple[Descriptor, ...]


class ImageIndex(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    schema_version: int
    media_type: str = ""
    manifests: Entries = ()
    annotations: dict[str, str] = {}


class IndexFile:
    """The index on disk: read at any time, changed under the lock of the layout."""

    def __init__(self, root: Path, lock_file: Path) -> None:
        self.path = root / "index.json"
        self.temporary = root / ".tmp"
        self.lock_file = lock_file

    def read(self) -> ImageIndex:
        """The index as it is now. Raises BadPackage if it is none."""
        try:
            data = self.path.read_bytes() if self.path.stat().st_size <= MAX_INDEX else b""
        except FileNotFoundError:
            return ImageIndex(schema_version=2, media_type=INDEX)
        return parse(data, ImageIndex, f"{self.path} is no OCI image index")

    def entries(self) -> Entries:
        """Every entry, in the order of the file."""
        return self.read().manifests

    def digests(self) -> set[str]:
        return {entry.digest for entry in self.entries()}

    def change(self, edit: Callable[[Entries], Entries]) -> None:
        """Apply `edit` under the lock, atomically and durably. Raises StorageFull, with the index as it was."""
        with lock(self.lock_file):
            self.change_locked(edit)

    def change_locked(self, edit: Callable[[Entries], Entries]) -> None:
        """`change` for who holds the lock already."""
        index = self.read()
        after = edit(index.manifests)
        if after != index.manifests or not self.path.exists():
            with storage(self.path):
                replace(self.path, canonical(msgspec.structs.replace(index, manifests=after)), self.temporary)


def tag_of(entry: Descriptor) -> str:
    """The tag of an entry, "" without one."""
    return entry.annotations.get(REF_NAME, "")


def with_manifest(entries: Entries, manifest: Descriptor) -> Entries:
    """The entries with this manifest among them."""
    return entries if any(entry.digest == manifest.digest for entry in entries) else (*entries, manifest)


def with_tag(entries: Entries, digest: str, ref: str) -> Entries:
    """The entries with `ref` on this manifest and on no other."""
    bare = next(_untagged(entry) for entry in entries if entry.digest == digest)
    tagged = msgspec.structs.replace(bare, annotations={**bare.annotations, REF_NAME: ref})
    rest = without_tag(entries, ref)
    return (*(entry for entry in rest if entry != bare), tagged)


def without_tag(entries: Entries, ref: str) -> Entries:
    """The entries without this tag; the manifest that had it stays."""
    gone = [_untagged(entry) for entry in entries if tag_of(entry) == ref]
    rest = tuple(entry for entry in entries if tag_of(entry) != ref)
    for entry in gone:
        rest = with_manifest(rest, entry)
    return rest


def without_manifests(entries: Entries, digests: Sequence[str] | set[str]) -> Entries:
    """The entries without these manifests."""
    return tuple(entry for entry in entries if entry.digest not in digests)


def _untagged(entry: Descriptor) -> Descriptor:
    rest = {key: value for key, value in entry.annotations.items() if key != REF_NAME}
    return msgspec.structs.replace(entry, annotations=rest)
