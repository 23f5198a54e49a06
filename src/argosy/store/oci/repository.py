"""Repositories of a registry as a place for packages.

Source: OCI distribution-spec 1.1: pulling and pushing content, listing tags and referrers, and what stands in for the
referrers API where a registry has none.
"""

import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TypeVar

import msgspec

from argosy.spec.errors import BadPackage, NotFound, PayloadTooLarge, Unavailable
from argosy.spec.strict import parse
from argosy.store.index import ImageIndex
from argosy.store.manifest import INDEX, Descriptor, canonical, describe
from argosy.store.oci.client import Answer, Client, RegistryCall
from argosy.store.oci.pull import ACCEPTED
from argosy.store.oci.reference import RemoteReference
from argosy.store.oci.remote import Source
from argosy.store.oci.transfers import Transfers
from argosy.store.oci.upload import CHUNK, Uploader, scopes

NO_REFERRERS = (400, 404, 405, 501)
"""What registries without the referrers API answer."""
MOST_TAGS, PAGES = 100_000, 200
_NEXT = re.compile(r'<([^>]{1,2000})>\s*;\s*rel="?next"?')

T = TypeVar("T")


class Tags(msgspec.Struct, frozen=True):
    """A page of the tags of a repository."""

    tags: tuple[str, ...] | None = None


class Repository:
    """A `Remote`. `chunk` bounds what one request sends."""

    def __init__(self, client: Client, *, chunk: int = CHUNK) -> None:
        self.client, self.report, self.chunk = client, client.report, chunk
        self._uploader: Uploader | None = None

    def document(self, reference: RemoteReference) -> tuple[Descriptor, bytes]:
        """See `Remote`. What the registry says of the digest is held against it, too."""
        client = self.client
        path = f"{reference.repository}/manifests/{reference.name}"
        answer = client.ask("GET", path, _reading(reference), headers={"Accept": ACCEPTED})
        found = describe("", answer.data).digest
        told = answer.headers.get("docker-content-digest", found)
        for wanted in (reference.digest or found, told if told.startswith("sha256:") else found):
            if wanted != found:
                raise BadPackage(f"{client.host} gives {found} for {reference}, which should be {wanted[:80]}")
        kind = answer.headers.get("content-type", "").partition(";")[0].strip()
        return Descriptor(media_type=kind, digest=found, size=len(answer.data)), answer.data

    @contextmanager
    def content(
        self, reference: RemoteReference, blob: Descriptor, start: int
    ) -> Generator[tuple[int, Iterator[bytes]]]:
        url = self.client.base.join(f"{reference.repository}/blobs/{blob.digest}")
        call = RegistryCall("GET", url, _reading(reference), {"Range": f"bytes={start}-"} if start else {})
        with self.client.opened(call, (200, 206, 416)) as answer:
            given = answer.headers.get("content-range", "").startswith(f"bytes {start}-")
            begins = start if answer.status_code == 206 and given else 0
            yield begins, iter(()) if answer.status_code == 416 else answer.iter_raw()

    def send(self, reference: RemoteReference, blob: Descriptor, source: Source, transfers: Transfers) -> bool:
        uploader, wanted = self._uploader, (reference.repository, source, transfers)
        if uploader is None or (uploader.repository, uploader.source, uploader.transfers) != wanted:
            uploader = self._uploader = Uploader(self.client, *wanted, chunk=self.chunk)
        try:
            return uploader.send(blob)
        except NotFound as error:
            raise self._hinted(error, reference) from None

    def enter(self, reference: RemoteReference, document: Descriptor, data: bytes, subject: Descriptor | None) -> None:
        try:
            answer = self._put(reference, reference.tag or document.digest, data, document.media_type)
        except NotFound as error:
            raise self._hinted(error, reference) from None
        told = answer.headers.get("docker-content-digest", document.digest)
        if told != document.digest:
            host = self.client.host
            raise BadPackage(f"{host} stored {document.digest} as {told[:80]}: what it holds is not what was sent")
        if subject is not None and "oci-subject" not in answer.headers:
            self._refer(reference, subject.digest, msgspec.structs.replace(document, annotations={}))

    def _refer(self, reference: RemoteReference, subject: str, entry: Descriptor) -> None:
        """Enter a manifest into the index at the tag that stands in for the referrers API."""
        index = self._fallback(reference, subject) or ImageIndex(schema_version=2, media_type=INDEX)
        if all(each.digest != entry.digest for each in index.manifests):
            data = canonical(msgspec.structs.replace(index, manifests=(*index.manifests, entry)))
            self._put(reference, fallback(subject), data, INDEX)

    def _put(self, reference: RemoteReference, name: str, data: bytes, media_type: str) -> Answer:
        return self.client.ask(
            "PUT",
            f"{reference.repository}/manifests/{name}",
            scopes(reference.repository),
            headers={"Content-Type": media_type},
            body=lambda: iter([data]),
            length=len(data),
            fine=(200, 201, 202),
        )

    def _hinted(self, error: NotFound, reference: RemoteReference) -> NotFound:
        hint = self.client.quirks.missing.format(repository=reference.repository)
        return NotFound(f"{error.message}. {hint}" if hint else error.message)

    def referrers(self, reference: RemoteReference, digest: str) -> list[Descriptor]:
        """See `Remote`. They are from the registry's own list, or from the index at the tag that stands in for it."""
        if self.client.quirks.referrers:
            path = f"{reference.repository}/referrers/{digest}"
            pages = list(self._pages(path, reference, fine=(200, *NO_REFERRERS)))
            if all(page.status == 200 and INDEX in page.headers.get("content-type", "") for page in pages):
                return [entry for page in pages for entry in self._decoded(page, ImageIndex).manifests]
        index = self._fallback(reference, digest)
        return list(index.manifests) if index else []

    def _fallback(self, reference: RemoteReference, subject: str) -> ImageIndex | None:
        path = f"{reference.repository}/manifests/{fallback(subject)}"
        answer = self.client.ask("GET", path, _reading(reference), headers={"Accept": INDEX}, fine=(200, 404))
        return self._decoded(answer, ImageIndex) if answer.status == 200 else None

    def tags(self, reference: RemoteReference) -> list[str]:
        """See `Remote`. They are in the order of the registry."""
        found: list[str] = []
        for answer in self._pages(f"{reference.repository}/tags/list?n=1000", reference):
            found += self._decoded(answer, Tags).tags or ()
            if len(found) > MOST_TAGS:
                raise PayloadTooLarge(f"{reference.place} has more than {MOST_TAGS:,} tags")
        return found

    def _pages(self, path: str, reference: RemoteReference, fine: tuple[int, ...] = (200,)) -> Iterator[Answer]:
        url = self.client.base.join(path)
        for _ in range(PAGES):
            answer = self.client.ask("GET", url, _reading(reference), fine=fine)
            yield answer
            after = _NEXT.search(answer.headers.get("link", ""))
            if after is None:
                return
            url = self.client.beside(answer.url, after[1])

    def _decoded(self, answer: Answer, kind: type[T]) -> T:
        wrong = f"{self.client.host} answered {answer.url.path} with something else"
        return parse(answer.data, kind, wrong, Unavailable)


def _reading(reference: RemoteReference) -> tuple[str, ...]:
    return (f"repository:{reference.repository}:pull",)


def fallback(subject: str) -> str:
    """The tag at which the referrers of a manifest are listed where the registry has no API for them."""
    return subject.replace(":", "-", 1)
