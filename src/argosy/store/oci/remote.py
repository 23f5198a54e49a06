"""Where packages lie outside of a home: a repository of a registry, or a prefix of a bucket."""

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from argosy.spec.errors import InvalidArgument
from argosy.store.manifest import Descriptor
from argosy.store.oci.reference import RemoteReference
from argosy.store.oci.transfers import Transfers

Report = Callable[[str], None]


class Source(Protocol):
    """Where the bytes of blobs come from."""

    def read(self, blob: Descriptor, start: int, length: int) -> Iterator[bytes]:
        """`length` bytes of a blob, from `start`. Raises BadPackage where they are not there."""
        ...


class Remote(Protocol):
    """A registry or a bucket. References name places in it. Everything raises NotFound, Unauthenticated,
    PermissionDenied, RateLimited or Unavailable."""

    report: Report

    def document(self, reference: RemoteReference) -> tuple[Descriptor, bytes]:
        """The manifest or index at a tag or digest. Raises BadPackage where it has another digest than it should."""
        ...

    def content(
        self, reference: RemoteReference, blob: Descriptor, start: int
    ) -> AbstractContextManager[tuple[int, Iterator[bytes]]]:
        """A blob from `start`, or from 0 where it is not given in parts: where it begins, and its bytes."""
        ...

    def send(self, reference: RemoteReference, blob: Descriptor, source: Source, transfers: Transfers) -> bool:
        """See to it that a blob is there. Returns whether bytes were sent."""
        ...

    def enter(self, reference: RemoteReference, document: Descriptor, data: bytes, subject: Descriptor | None) -> None:
        """Store a manifest or index at the tag of the reference, or at its digest where that has none; among what
        refers to `subject`, if there is one."""
        ...

    def referrers(self, reference: RemoteReference, digest: str) -> list[Descriptor]:
        """What refers to a manifest."""
        ...

    def tags(self, reference: RemoteReference) -> list[str]:
        """The tags of a place. Raises NotFound."""
        ...


@contextmanager
def opened(
    reference: RemoteReference,
    *,
    plain_http: bool = False,
    ca: Path | None = None,
    report: Report = lambda line: None,
) -> Generator[Remote]:
    """What a reference lies in. `plain_http` and `ca` say how a registry is reached; a bucket, as `store.objects` says.
    Raises Unavailable, NotFound where there is no registry, InvalidArgument for what does not go with a bucket."""
    if reference.in_bucket:
        if plain_http or ca:
            raise InvalidArgument(
                f"--plain-http and --ca say how a registry is reached; {reference.host} is reached as the environment "
                "says (AWS_ENDPOINT_URL, …)"
            )
        from argosy.store.oci.bucket import Bucket

        yield Bucket(report)
        return
    from argosy.store.oci.client import Client
    from argosy.store.oci.repository import Repository

    with Client(reference.host, reference.repository, plain_http=plain_http, ca=ca, report=report) as client:
        yield Repository(client.probe())
