"""Prefixes of buckets as a place for packages: the blobs of an OCI image layout, an object for each tag and referrer.

Below the prefix: `blobs/sha256/<hex>`, manifests among them; `tags/<tag>` and `referrers/<hex of the subject>/<hex>`,
each the descriptor of a manifest. There is no index: two writers would overwrite each other's entries, and not every
store can refuse that. Objects of the first kind never change.
"""

from collections.abc import Generator, Iterator
from contextlib import contextmanager

import msgspec

from argosy.spec.errors import BadPackage, NotFound, PayloadTooLarge
from argosy.spec.strict import parse
from argosy.store import objects
from argosy.store.manifest import MANIFEST, MAX_DOCUMENT, Descriptor, canonical, describe
from argosy.store.oci.reference import RemoteReference
from argosy.store.oci.remote import Report, Source
from argosy.store.oci.transfers import Transfers


class Kind(msgspec.Struct, frozen=True, rename="camel"):
    """What a manifest or an index says of its own kind."""

    media_type: str = MANIFEST


class Bucket:
    def __init__(self, report: Report) -> None:
        self.report = report

    def document(self, reference: RemoteReference) -> tuple[Descriptor, bytes]:
        digest = reference.digest or self._tagged(reference).digest
        data = _small(_blob(reference, digest))
        found = describe("", data)
        if found.digest != digest:
            raise BadPackage(f"{reference.host} gives {found.digest} for {reference}, which should be {digest}")
        kind = parse(data, Kind, f"{reference} is no manifest").media_type
        return msgspec.structs.replace(found, media_type=kind), data

    @contextmanager
    def content(
        self, reference: RemoteReference, blob: Descriptor, start: int
    ) -> Generator[tuple[int, Iterator[bytes]]]:
        yield start, objects.stream(_blob(reference, blob.digest), start)

    def send(self, reference: RemoteReference, blob: Descriptor, source: Source, transfers: Transfers) -> bool:
        """See `Remote`. An object of another size is replaced."""
        url = _blob(reference, blob.digest)
        with transfers.moving(url):
            try:
                if objects.stat(url)[0] == blob.size:
                    return False
            except NotFound:
                pass
            data = source.read(blob, 0, blob.size)
            objects.put(url, b"".join(data) if blob.size <= objects.PART else data)  # one request instead of three
            self.report(f"{blob.digest[:19]}: {blob.size:,} bytes")
        return True

    def enter(self, reference: RemoteReference, document: Descriptor, data: bytes, subject: Descriptor | None) -> None:
        entry = canonical(msgspec.structs.replace(document, annotations={}))
        objects.put(_blob(reference, document.digest), data)
        if subject is not None:
            name = document.digest.removeprefix("sha256:")
            objects.put(f"{_referrers(reference, subject.digest)}/{name}", entry)
        if reference.tag:
            objects.put(f"{reference.place}/tags/{reference.tag}", entry)

    def referrers(self, reference: RemoteReference, digest: str) -> list[Descriptor]:
        return [_descriptor(url) for url in sorted(objects.walk(_referrers(reference, digest)))]

    def tags(self, reference: RemoteReference) -> list[str]:
        """See `Remote`. They are sorted."""
        base = f"{reference.place}/tags/"
        found = sorted(url.removeprefix(base) for url in objects.walk(base))
        if not found:
            raise NotFound(f"there are no packages at {reference.place}")
        return found

    def _tagged(self, reference: RemoteReference) -> Descriptor:
        try:
            return _descriptor(f"{reference.place}/tags/{reference.tag}")
        except NotFound:
            there = ", ".join(self.tags(reference)[-10:])
            raise NotFound(f"{reference.place} has no tag '{reference.tag}'; there are {there}") from None


def _blob(reference: RemoteReference, digest: str) -> str:
    return f"{reference.place}/blobs/sha256/{digest.removeprefix('sha256:')}"


def _referrers(reference: RemoteReference, digest: str) -> str:
    return f"{reference.place}/referrers/{digest.removeprefix('sha256:')}"


def _descriptor(url: str) -> Descriptor:
    return parse(_small(url), Descriptor, f"{url} is no descriptor of a manifest")


def _small(url: str) -> bytes:
    if objects.stat(url)[0] > MAX_DOCUMENT:
        raise PayloadTooLarge(f"{url} has more than the {MAX_DOCUMENT} bytes that a document may have")
    return objects.read(url)
