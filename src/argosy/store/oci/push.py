"""Manifests and all that they need into a registry: blobs first, manifests last, then what refers to them.

Source: OCI distribution-spec 1.1, pushing manifests, with a subject, and without the referrers API.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from argosy.spec.errors import BadPackage, NotFound
from argosy.store.index import ImageIndex, IndexFile, tag_of
from argosy.store.manifest import INDEX, MAX_DOCUMENT, Descriptor, References, canonical, describe
from argosy.store.oci.client import Answer, Client
from argosy.store.oci.reference import RegistryReference
from argosy.store.oci.transfers import Transfers
from argosy.store.oci.upload import CHUNK, Source, Uploader

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


def push(
    client: Client,
    reference: RegistryReference,
    root: Descriptor,
    source: Source,
    transfers: Transfers,
    *,
    chunk: int = CHUNK,
) -> Pushed:
    """Push the manifest or the index `root`, with all that it needs, to a tag, or to its digest where the reference
    has none. Blobs that the registry has are not sent; a push that was killed goes on in the middle of a blob.

    Raises Unauthenticated, PermissionDenied, NotFound, Unavailable, RateLimited, and BadPackage where `source` lacks
    something.
    """
    uploader = Uploader(client, reference.repository, source, transfers, chunk=chunk)
    moved: dict[str, bool] = {}
    try:
        _document(uploader, root, reference.tag, moved, 0)
    except NotFound as error:
        hint = client.quirks.missing.format(repository=reference.repository)
        raise NotFound(f"{error.message}. {hint}" if hint else error.message) from None
    transfers.seen(client.host, reference.repository, list(moved))
    sent = sum(moved.values())
    return Pushed(digest=root.digest, sent=sent, there=len(moved) - sent)


def _document(uploader: Uploader, document: Descriptor, tag: str, moved: dict[str, bool], depth: int) -> None:
    """Push one manifest or index behind what it needs."""
    client, what = uploader.client, f"the manifest {document.digest}"
    if document.size > MAX_DOCUMENT or depth > DEEPEST:
        raise BadPackage(f"{what} is larger than {MAX_DOCUMENT} bytes, or an index in {DEEPEST} others")
    data = b"".join(uploader.source.read(document, 0, document.size))
    if describe("", data).digest != document.digest:
        raise BadPackage(f"{what} is altered: it no longer has that digest")
    try:
        needs = msgspec.json.decode(data, type=Named)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadPackage(f"{what} cannot be read: {error}") from None
    for each in needs.manifests:
        _document(uploader, each, "", moved, depth + 1)
    for blob in (*needs.layers, *([needs.config] if needs.config else [])):
        if blob.digest not in moved:
            moved[blob.digest] = uploader.send(blob)
    answer = _put(uploader, tag or document.digest, data, document.media_type)
    told = answer.headers.get("docker-content-digest", document.digest)
    if told != document.digest:
        raise BadPackage(f"{client.host} stored {document.digest} as {told[:80]}: what it holds is not what was sent")
    if needs.subject is not None and "oci-subject" not in answer.headers:
        kind = needs.artifact_type or (needs.config.media_type if needs.config else "")
        entry = msgspec.structs.replace(document, artifact_type=kind, annotations={})
        _refer(uploader, needs.subject.digest, entry)


def _refer(uploader: Uploader, subject: str, entry: Descriptor) -> None:
    """Enter a manifest into the index at the tag that stands in for the referrers API."""
    client, path = uploader.client, f"{uploader.repository}/manifests/{fallback(subject)}"
    answer = client.ask("GET", path, uploader.scopes, headers={"Accept": INDEX}, fine=(200, 404))
    index = ImageIndex(schema_version=2, media_type=INDEX)
    if answer.status == 200:
        try:
            index = msgspec.json.decode(answer.data, type=ImageIndex)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise BadPackage(f"the tag {fallback(subject)} of {uploader.place} is no image index: delete it") from None
    if all(each.digest != entry.digest for each in index.manifests):
        data = canonical(msgspec.structs.replace(index, manifests=(*index.manifests, entry)))
        _put(uploader, fallback(subject), data, INDEX)


def _put(uploader: Uploader, name: str, data: bytes, media_type: str) -> Answer:
    return uploader.client.ask(
        "PUT",
        f"{uploader.repository}/manifests/{name}",
        uploader.scopes,
        headers={"Content-Type": media_type},
        body=lambda: iter([data]),
        length=len(data),
        fine=(200, 201, 202),
    )


def fallback(subject: str) -> str:
    """The tag at which the referrers of a manifest are listed where the registry has no API for them."""
    return subject.replace(":", "-", 1)


def in_layout(folder: Path, name: str = "") -> Descriptor:
    """The manifest or index of an OCI image layout: the one that is tagged `name`, or the only one. Raises NotFound,
    BadPackage."""
    index = IndexFile(folder, folder / ".lock")
    if not index.path.is_file():
        raise NotFound(f"{folder} is no OCI image layout: it has no index.json")
    found = [each for each in index.entries() if not name or tag_of(each) == name]
    if len(found) != 1:
        raise NotFound(f"{index.path} has {len(found)} manifests{f' named {name}' if name else ''}: one is needed")
    return found[0]
