"""Manifests and blobs out of a registry or a bucket: nothing that it says of them is believed, every byte is hashed."""

import hashlib
from pathlib import Path

import msgspec

from argosy.spec.errors import BadPackage, InvalidArgument, PayloadTooLarge, StorageFull, Unavailable
from argosy.store.durable import CHUNK, storage, write_all
from argosy.store.index import ImageIndex
from argosy.store.layout import Layout
from argosy.store.manifest import IMAGE_CONFIG, INDEX, MANIFEST, MAX_DOCUMENT, Descriptor, package_files, parse
from argosy.store.oci.reference import RemoteReference
from argosy.store.oci.remote import Remote, Report
from argosy.store.oci.transfers import Transfers

NO_PACKAGES = (INDEX, *(f"application/vnd.docker.distribution.manifest{kind}.v2+json" for kind in ("", ".list")))
"""Media types of what can be images alone."""
ACCEPTED = ", ".join((MANIFEST, *NO_PACKAGES))
TRIES = 5
"""Times that a blob goes on after it broke off without progress."""
MOST_REFERRERS = 64


def pull(remote: Remote, reference: RemoteReference, layout: Layout, transfers: Transfers) -> str:
    """Store a package and what refers to it. Returns its digest. What is here is not fetched again; a pull that was
    killed goes on in the middle of a blob.

    Raises NotFound, Unauthenticated, PermissionDenied, Unavailable, RateLimited; BadPackage for what is no package of
    Argosy, or other bytes than it should be; PayloadTooLarge; StorageFull, with the disk as it was.
    """
    if not reference.name:
        raise InvalidArgument(f"{reference} has no tag: argosy tags {reference.place}  lists them")
    entry, data = remote.document(reference)
    manifest = None if entry.media_type in NO_PACKAGES else parse(data, str(reference))
    if manifest is None or (manifest.config.media_type == IMAGE_CONFIG and not manifest.artifact_type):
        raise BadPackage(
            f"{reference} is a container image{_platforms(data)}, no model package: run it with podman or docker. "
            "To pull its model, name the tag that `argosy push --to` gave it, without '-image'"
        )
    files = package_files(manifest, str(reference), layout.max_package_bytes)
    if "model.yaml" not in files:
        raise BadPackage(f"{reference} is a model without model.yaml, so Argosy did not package it: push its file")
    digest = _adopt(remote, reference, data, layout, transfers)
    attachments(remote, reference, digest, layout, transfers)
    return digest


def attachments(remote: Remote, reference: RemoteReference, digest: str, layout: Layout, transfers: Transfers) -> None:
    """Store what refers to a package that is here, apart from images and what is not small."""
    here = layout.index.digests()
    for referrer in remote.referrers(reference, digest)[:MOST_REFERRERS]:
        try:
            if referrer.digest not in here:
                _attached(remote, reference, referrer, digest, layout, transfers)
        except (BadPackage, PayloadTooLarge) as error:
            remote.report(f"left out of what refers to {digest[:19]}: {error.message}")


def _platforms(data: bytes) -> str:
    """For which platforms an index is, as a part of a sentence."""
    try:
        found = [each.platform for each in msgspec.json.decode(data, type=ImageIndex).manifests]
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    named = dict.fromkeys(f"{each.get('os')}/{each.get('architecture')}" for each in found if each)
    return f" for {', '.join(named)[:200]}" if named else ""


def _attached(
    remote: Remote, reference: RemoteReference, entry: Descriptor, digest: str, layout: Layout, transfers: Transfers
) -> None:
    """Store one manifest that refers to the package, unless it is an image or not small."""
    if entry.media_type != MANIFEST or entry.artifact_type == IMAGE_CONFIG:
        return
    name = RemoteReference(reference.host, reference.repository, digest=entry.digest)
    data = remote.document(name)[1]
    manifest = parse(data, str(name))
    if manifest.subject is None or manifest.subject.digest != digest:
        raise BadPackage(f"{entry.digest} refers to something else")
    if manifest.layers and manifest.config.media_type != IMAGE_CONFIG:
        if sum(layer.size for layer in manifest.layers) > MAX_DOCUMENT:
            raise PayloadTooLarge(f"{entry.digest} has more than {MAX_DOCUMENT} bytes")
        _adopt(remote, reference, data, layout, transfers)


def _adopt(remote: Remote, reference: RemoteReference, data: bytes, layout: Layout, transfers: Transfers) -> str:
    manifest = parse(data, "what was pulled")
    if manifest.config.size > MAX_DOCUMENT:
        raise BadPackage(f"the config {manifest.config.digest} is larger than {MAX_DOCUMENT} bytes")
    blobs = {blob.digest: blob for blob in (manifest.config, *manifest.layers)}
    wanted = [blob for blob in blobs.values() if not _here(layout, blob)]
    try:
        for blob in wanted:
            fetch(remote, reference, blob, transfers)
        with transfers.adopting():
            return layout.adopt(data, {blob.digest: transfers.part(blob.digest) for blob in wanted})
    except StorageFull:
        for blob in wanted:
            transfers.part(blob.digest).unlink(missing_ok=True)
        raise


def _here(layout: Layout, blob: Descriptor) -> bool:
    try:
        layout.blobs.check(blob, "a blob")
    except BadPackage:
        return False
    return True


def fetch(remote: Remote, reference: RemoteReference, blob: Descriptor, transfers: Transfers) -> None:
    """Have a blob whole in `transfers`, going on with what is there. Raises BadPackage for other bytes."""
    path = transfers.part(blob.digest)
    with transfers.moving(blob.digest), storage(path), Partial(path, blob, reference.host, remote.report) as part:
        tries = 0
        while part.offset < blob.size:
            before = part.offset
            try:
                with remote.content(reference, blob, part.offset) as (begins, chunks):
                    part.begin(begins)
                    for chunk in chunks:
                        part.add(chunk)
                why = f"{reference.host} ends at {part.offset} of {blob.size} bytes of {blob.digest}"
            except Unavailable as error:
                why = error.message
            tries = 0 if part.offset > before else tries + 1
            if tries == TRIES:
                raise Unavailable(f"{why}: repeat the pull later, it goes on there")
        part.check()


class Partial:
    """A blob that grows in a file, hashed as it is written."""

    def __init__(self, path: Path, blob: Descriptor, host: str, report: Report) -> None:
        self.path, self.blob, self.host, self.report = path, blob, host, report

    def __enter__(self) -> "Partial":
        self.path.touch()
        self.path.chmod(0o600)  # a pull that was killed as it moved it into the store left it read-only
        self.file, self.hasher = self.path.open("a+b", buffering=0), hashlib.sha256()
        self.file.seek(0)
        while data := self.file.read(CHUNK):
            self.hasher.update(data)
        self.offset = self.file.tell()
        if self.offset:
            self.report(f"going on with {self.blob.digest[:19]} at {self.offset:,} of {self.blob.size:,} bytes")
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def begin(self, offset: int) -> None:
        """What comes begins at `offset`: go on with what is there, or forget it."""
        if offset != self.offset:
            self.file.truncate(0)
            self.offset, self.hasher = 0, hashlib.sha256()

    def add(self, data: bytes) -> None:
        """Take the next bytes. Raises BadPackage past the size of the blob."""
        if self.offset + len(data) > self.blob.size:
            self.path.unlink()
            raise BadPackage(f"{self.host} gives more than the {self.blob.size} bytes of {self.blob.digest}")
        write_all(self.file.fileno(), data)
        self.hasher.update(data)
        self.offset += len(data)

    def check(self) -> None:
        """Raise BadPackage, with nothing kept, unless these are the bytes of the blob."""
        found = f"sha256:{self.hasher.hexdigest()}"
        if found != self.blob.digest:
            self.path.unlink()
            raise BadPackage(
                f"{self.host} gives other bytes for {self.blob.digest}: they have {found}. Nothing of them is "
                "kept; repeat, and ask who runs that registry if it stays so"
            )
