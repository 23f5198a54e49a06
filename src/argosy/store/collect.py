"""Garbage collection of a layout: mark from what is named, sweep the rest."""

import time
from collections.abc import Collection, Iterable

import msgspec

from argosy.process.flock import lock
from argosy.spec.strict import parse
from argosy.store.blobs import Blobs
from argosy.store.durable import sweep
from argosy.store.index import SUBJECT, Entries, IndexFile, tag_of, without_manifests
from argosy.store.manifest import INDEX, MANIFEST, MAX_DOCUMENT, Descriptor, References

GRACE = 3600.0
"""Seconds in which a push may be on its way between its blobs and its name."""


class Collected(msgspec.Struct, frozen=True):
    """What a collection deleted: manifests out of the index, blobs, and the bytes of those."""

    manifests: int
    blobs: int
    bytes: int


def collect(blobs: Blobs, index: IndexFile, keep: Collection[str], *, grace: float = GRACE) -> Collected:
    """Delete the manifests that neither `keep`, a tag, nor a subject that stays needs, and the blobs without use then.

    What is younger than `grace` seconds stays. Raises BadPackage, with nothing deleted, when a manifest that is kept
    cannot be read: what it needs would not be known.
    """
    before = time.time() - grace
    with lock(blobs.lock_file):
        entries = index.entries()
        paths = {entry.digest: blobs.path(entry.digest) for entry in entries}
        young = {digest for digest, path in paths.items() if path.exists() and path.stat().st_mtime >= before}
        alive = living(entries, {*keep, *young})
        needed = _closure(blobs, [entry for entry in entries if entry.digest in alive])
        gone = {entry.digest for entry in entries} - alive
        index.change_locked(lambda now: without_manifests(now, gone))
        count = size = 0
        for path in blobs.folder.iterdir():
            status = path.stat()
            if f"sha256:{path.name}" not in needed and status.st_mtime < before:
                path.unlink()
                count, size = count + 1, size + status.st_size
    sweep(blobs.temporary.iterdir(), grace)
    return Collected(len(gone), count, size)


def living(entries: Entries, keep: Collection[str]) -> set[str]:
    """The digests that stay: tagged ones, those in `keep`, and whatever is attached to one that stays."""
    alive = {entry.digest for entry in entries if tag_of(entry) or entry.digest in keep}
    while True:
        attached = {entry.digest for entry in entries if entry.annotations.get(SUBJECT) in alive}
        if attached <= alive:
            return alive
        alive |= attached


def _closure(blobs: Blobs, roots: Iterable[Descriptor]) -> set[str]:
    needed: set[str] = set()
    pending = list(roots)
    while pending:
        descriptor = pending.pop()
        if descriptor.digest in needed:
            continue
        needed.add(descriptor.digest)
        if descriptor.media_type in (MANIFEST, INDEX):
            what = f"the manifest of {descriptor.digest}"
            data = blobs.read(descriptor, MAX_DOCUMENT, what)
            found = parse(data, References, f"{what} cannot be read, so nothing is collected")
            pending += [*found.layers, *found.manifests, *([found.config] if found.config else [])]
    return needed
