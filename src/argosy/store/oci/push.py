"""Manifests and all that they need into a registry or a bucket: blobs first, manifests last."""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from argosy.spec.errors import BadPackage
from argosy.spec.strict import parse
from argosy.store.manifest import MAX_DOCUMENT, Descriptor, References, describe
from argosy.store.oci.reference import RemoteReference
from argosy.store.oci.remote import Remote, Source
from argosy.store.oci.transfers import Transfers

PIECE = 1024 * 1024
DEEPEST = 3
"""Indexes inside of indexes."""


class Folder:
    """The blobs of an OCI image layout on disk, by digest: `FOLDER/blobs/sha256/…`."""

    def __init__(self, root: Path) -> None:
        self.blobs = root / "blobs" / "sha256"

    def read(self, blob: Descriptor, start: int, length: int) -> Iterator[bytes]:
        """`length` bytes of a blob, from `start`. Raises BadPackage where they are not there."""
        yield from piece(self.blobs / blob.digest.removeprefix("sha256:"), start, length, blob.digest)


def piece(path: Path, start: int, length: int, what: str) -> Iterator[bytes]:
    """`length` bytes of a file, from `start`. Raises BadPackage naming `what`."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            while length and (data := file.read(min(PIECE, length))):
                length -= len(data)
                yield data
    except OSError as error:
        raise BadPackage(f"{what} cannot be read: {os.strerror(error.errno or 0)}") from None
    if length:
        raise BadPackage(f"{what} is altered: {path} is shorter than it was")


class Pushed(msgspec.Struct, frozen=True, kw_only=True):
    """What a push did: the digest of what was named, and how many blobs were sent and were there already."""

    digest: str
    sent: int
    there: int


class Named(References, frozen=True, rename="camel"):
    """What a manifest or an index needs, and what it refers to."""

    subject: Descriptor | None = None
    artifact_type: str = ""


def push(remote: Remote, reference: RemoteReference, root: Descriptor, source: Source, transfers: Transfers) -> Pushed:
    """Push the manifest or the index `root`, with all that it needs, to a tag, or to its digest where the reference
    has none. Blobs that are there are not sent; to a registry, a push that was killed goes on in the middle of a blob.

    Raises Unauthenticated, PermissionDenied, NotFound, Unavailable, RateLimited, and BadPackage where `source` lacks
    something.
    """
    moved: dict[str, bool] = {}

    def document(found: Descriptor, place: RemoteReference, depth: int) -> None:
        """Push one manifest or index behind what it needs."""
        data, needs = _read(found, source, depth)
        for each in needs.manifests:
            document(each, RemoteReference(place.host, place.repository), depth + 1)
        for blob in (*needs.layers, *([needs.config] if needs.config else [])):
            if blob.digest not in moved:
                moved[blob.digest] = remote.send(place, blob, source, transfers)
        kind = needs.artifact_type or (needs.config.media_type if needs.config else "")
        entry = msgspec.structs.replace(found, artifact_type=kind)
        remote.enter(place, entry, data, needs.subject)

    document(root, reference, 0)
    transfers.seen(reference.host, reference.repository, list(moved))
    sent = sum(moved.values())
    return Pushed(digest=root.digest, sent=sent, there=len(moved) - sent)


def _read(document: Descriptor, source: Source, depth: int) -> tuple[bytes, Named]:
    """A manifest or index, and what it names."""
    what = f"the manifest {document.digest}"
    if document.size > MAX_DOCUMENT or depth > DEEPEST:
        raise BadPackage(f"{what} is larger than {MAX_DOCUMENT} bytes, or an index in {DEEPEST} others")
    data = b"".join(source.read(document, 0, document.size))
    if describe("", data).digest != document.digest:
        raise BadPackage(f"{what} is altered: it no longer has that digest")
    return data, parse(data, Named, f"{what} cannot be read")
