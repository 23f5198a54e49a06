"""Manifests and blobs out of a registry: nothing that it says of their digests is believed, every byte is hashed.

Source: OCI distribution-spec 1.1, pulling content, listing tags and referrers.
"""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from argosy.spec.errors import BadPackage, InvalidArgument, PayloadTooLarge, StorageFull, Unavailable
from argosy.store.durable import CHUNK, storage, write_all
from argosy.store.index import ImageIndex
from argosy.store.layout import Layout
from argosy.store.manifest import (
    IMAGE_CONFIG,
    INDEX,
    MANIFEST,
    MAX_DOCUMENT,
    Descriptor,
    describe,
    package_files,
    parse,
)
from argosy.store.oci.client import Answer, Client, RegistryCall
from argosy.store.oci.push import fallback
from argosy.store.oci.reference import RegistryReference
from argosy.store.oci.transfers import Transfers

NO_PACKAGES = (INDEX, *(f"application/vnd.docker.distribution.manifest{kind}.v2+json" for kind in ("", ".list")))
"""Media types of what can be images alone."""
ACCEPTED = ", ".join((MANIFEST, *NO_PACKAGES))
TRIES = 5
"""Times that a blob goes on after it broke off without progress."""
NO_REFERRERS = (400, 404, 405, 501)
"""What registries without the referrers API answer."""
MOST_REFERRERS, MOST_TAGS, PAGES = 64, 100_000, 200
_NEXT = re.compile(r'<([^>]{1,2000})>\s*;\s*rel="?next"?')


T = TypeVar("T")


class Tags(msgspec.Struct, frozen=True):
    """A page of the tags of a repository."""

    tags: tuple[str, ...] | None = None


def pull(client: Client, reference: RegistryReference, layout: Layout, transfers: Transfers) -> str:
    """Store a package and what refers to it. Returns its digest. What is here is not fetched again; a pull that was
    killed goes on in the middle of a blob.

    Raises NotFound, Unauthenticated, PermissionDenied, Unavailable, RateLimited; BadPackage for what is no package of
    Argosy, or other bytes than it should be; PayloadTooLarge; StorageFull, with the disk as it was.
    """
    entry, data = manifest_of(client, reference)
    manifest = None if entry.media_type in NO_PACKAGES else parse(data, str(reference))
    if manifest is None or (manifest.config.media_type == IMAGE_CONFIG and not manifest.artifact_type):
        raise BadPackage(
            f"{reference} is a container image{_platforms(data)}, no model package: run it with podman or docker. "
            "To pull its model, name the tag that `argosy push --to` gave it, without '-image'"
        )
    files = package_files(manifest, str(reference), layout.max_package_bytes)
    if "model.yaml" not in files:
        raise BadPackage(f"{reference} is a model without model.yaml, so Argosy did not package it: push its file")
    digest = _adopt(client, reference.repository, data, layout, transfers)
    for referrer in referrers(client, reference.repository, digest)[:MOST_REFERRERS]:
        try:
            _attached(client, reference, referrer, digest, layout, transfers)
        except (BadPackage, PayloadTooLarge) as error:
            client.report(f"left out of what refers to {digest[:19]}: {error.message}")
    return digest


def _platforms(data: bytes) -> str:
    """For which platforms an index is, as a part of a sentence."""
    try:
        found = [each.platform for each in msgspec.json.decode(data, type=ImageIndex).manifests]
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    named = dict.fromkeys(f"{each.get('os')}/{each.get('architecture')}" for each in found if each)
    return f" for {', '.join(named)[:200]}" if named else ""


def _attached(
    client: Client, reference: RegistryReference, entry: Descriptor, digest: str, layout: Layout, transfers: Transfers
) -> None:
    """Store one manifest that refers to the package, unless it is an image or not small."""
    if entry.media_type != MANIFEST or entry.artifact_type == IMAGE_CONFIG:
        return
    name = RegistryReference(reference.host, reference.repository, digest=entry.digest)
    data = manifest_of(client, name)[1]
    manifest = parse(data, str(name))
    if manifest.subject is None or manifest.subject.digest != digest:
        raise BadPackage(f"{entry.digest} refers to something else")
    if manifest.layers and manifest.config.media_type != IMAGE_CONFIG:
        if sum(layer.size for layer in manifest.layers) > MAX_DOCUMENT:
            raise PayloadTooLarge(f"{entry.digest} has more than {MAX_DOCUMENT} bytes")
        _adopt(client, reference.repository, data, layout, transfers)


def _adopt(client: Client, repository: str, data: bytes, layout: Layout, transfers: Transfers) -> str:
    manifest = parse(data, "what was pulled")
    if manifest.config.size > MAX_DOCUMENT:
        raise BadPackage(f"the config {manifest.config.digest} is larger than {MAX_DOCUMENT} bytes")
    blobs = {blob.digest: blob for blob in (manifest.config, *manifest.layers)}
    wanted = [blob for blob in blobs.values() if not _here(layout, blob)]
    try:
        for blob in wanted:
            fetch(client, repository, blob, transfers)
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


def manifest_of(client: Client, reference: RegistryReference) -> tuple[Descriptor, bytes]:
    """The manifest or index at a reference. Raises BadPackage where it has another digest than it should have."""
    if not reference.name:
        raise InvalidArgument(f"{reference} has no tag: argosy tags {reference.place}  lists them")
    answer = client.ask(
        "GET", f"{reference.repository}/manifests/{reference.name}", _scope(reference), headers={"Accept": ACCEPTED}
    )
    found = describe("", answer.data).digest
    told = answer.headers.get("docker-content-digest", found)
    for wanted in (reference.digest or found, told if told.startswith("sha256:") else found):
        if wanted != found:
            raise BadPackage(f"{client.host} gives {found} for {reference}, which should be {wanted[:80]}")
    kind = answer.headers.get("content-type", "").partition(";")[0].strip()
    return Descriptor(media_type=kind, digest=found, size=len(answer.data)), answer.data


def fetch(client: Client, repository: str, blob: Descriptor, transfers: Transfers) -> None:
    """Have a blob whole in `transfers`, going on with what is there. Raises BadPackage for other bytes."""
    path = transfers.part(blob.digest)
    with transfers.moving(blob.digest), storage(path), Partial(path, blob, client) as part:
        tries = 0
        while part.offset < blob.size:
            before = part.offset
            try:
                _go_on(client, repository, part)
                why = f"{client.host} ends at {part.offset} of {blob.size} bytes of {blob.digest}"
            except Unavailable as error:
                why = error.message
            tries = 0 if part.offset > before else tries + 1
            if tries == TRIES:
                raise Unavailable(f"{why}: repeat the pull later, it goes on there")
        part.check()


class Partial:
    """A blob that grows in a file, hashed as it is written."""

    def __init__(self, path: Path, blob: Descriptor, client: Client) -> None:
        self.path, self.blob, self.client = path, blob, client

    def __enter__(self) -> "Partial":
        self.path.touch()
        self.path.chmod(0o600)  # a pull that was killed as it moved it into the store left it read-only
        self.file, self.hasher = self.path.open("a+b", buffering=0), hashlib.sha256()
        self.file.seek(0)
        while data := self.file.read(CHUNK):
            self.hasher.update(data)
        self.offset = self.file.tell()
        if self.offset:
            self.client.report(f"going on with {self.blob.digest[:19]} at {self.offset:,} of {self.blob.size:,} bytes")
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def restart(self) -> None:
        """Forget what is there."""
        self.file.truncate(0)
        self.offset, self.hasher = 0, hashlib.sha256()

    def add(self, data: bytes) -> None:
        """Take the next bytes. Raises BadPackage past the size of the blob."""
        if self.offset + len(data) > self.blob.size:
            self.path.unlink()
            raise BadPackage(f"{self.client.host} gives more than the {self.blob.size} bytes of {self.blob.digest}")
        write_all(self.file.fileno(), data)
        self.hasher.update(data)
        self.offset += len(data)

    def check(self) -> None:
        """Raise BadPackage, with nothing kept, unless these are the bytes of the blob."""
        found = f"sha256:{self.hasher.hexdigest()}"
        if found != self.blob.digest:
            self.path.unlink()
            raise BadPackage(
                f"{self.client.host} gives other bytes for {self.blob.digest}: they have {found}. Nothing of them is "
                "kept; repeat, and ask who runs that registry if it stays so"
            )


def _go_on(client: Client, repository: str, part: Partial) -> None:
    """Fetch what is missing of a blob, all of it where the registry does not give ranges."""
    headers = {"Range": f"bytes={part.offset}-"} if part.offset else {}
    url = client.base.join(f"{repository}/blobs/{part.blob.digest}")
    call = RegistryCall("GET", url, (f"repository:{repository}:pull",), headers)
    with client.opened(call, (200, 206, 416)) as answer:
        given = answer.headers.get("content-range", "").startswith(f"bytes {part.offset}-")
        if part.offset and not (answer.status_code == 206 and given):
            part.restart()
        if answer.status_code == 200 or part.offset:
            for chunk in answer.iter_raw():
                part.add(chunk)


def tags(client: Client, reference: RegistryReference) -> list[str]:
    """The tags of a repository, as the registry orders them. Raises NotFound."""
    found: list[str] = []
    for answer in _pages(client, f"{reference.repository}/tags/list?n=1000", reference):
        found += _decoded(answer, Tags, client).tags or ()
        if len(found) > MOST_TAGS:
            raise PayloadTooLarge(f"{reference.place} has more than {MOST_TAGS:,} tags")
    return found


def referrers(client: Client, repository: str, digest: str) -> list[Descriptor]:
    """What refers to a manifest, from the registry's own list, or from the index at the tag that stands in for it."""
    place = RegistryReference(client.host, repository)
    if client.quirks.referrers:
        pages = list(_pages(client, f"{repository}/referrers/{digest}", place, fine=(200, *NO_REFERRERS)))
        if all(page.status == 200 and INDEX in page.headers.get("content-type", "") for page in pages):
            return [entry for page in pages for entry in _decoded(page, ImageIndex, client).manifests]
    path = f"{repository}/manifests/{fallback(digest)}"
    answer = client.ask("GET", path, _scope(place), headers={"Accept": INDEX}, fine=(200, 404))
    return list(_decoded(answer, ImageIndex, client).manifests) if answer.status == 200 else []


def _pages(client: Client, path: str, place: RegistryReference, fine: tuple[int, ...] = (200,)) -> Iterator[Answer]:
    url = client.base.join(path)
    for _ in range(PAGES):
        answer = client.ask("GET", url, _scope(place), fine=fine)
        yield answer
        after = _NEXT.search(answer.headers.get("link", ""))
        if after is None:
            return
        url = client.beside(answer.url, after[1])


def _decoded(answer: Answer, kind: type[T], client: Client) -> T:
    try:
        return msgspec.json.decode(answer.data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unavailable(f"{client.host} answered {answer.url.path} with something else: {error}") from None


def _scope(reference: RegistryReference) -> tuple[str, ...]:
    return (f"repository:{reference.repository}:pull",)
