"""A layout whose packages lie in a registry or a bucket as well, where every machine of a platform finds them.

The folder is a cache: a package that is not there, or is altered, is fetched by its digest, by one process for all that
wait, every byte hashed; a fetch that was killed goes on in the middle of a file.
"""

import logging
import re
from contextlib import suppress
from pathlib import Path

import msgspec

from argosy.spec.errors import ArgosyError, BadPackage, InvalidArgument, NotFound
from argosy.store.layout import Layout, Referrer
from argosy.store.manifest import Descriptor
from argosy.store.oci import reference
from argosy.store.oci.pull import attachments, pull
from argosy.store.oci.remote import opened
from argosy.store.oci.twin import publish

LOG = logging.getLogger(__name__)


class SharedLayout(Layout):
    """`place` is a repository of a registry, or a prefix of a bucket. Nothing is ever deleted there. Besides what a
    layout raises, everything that looks for a package raises what reaching that place raises."""

    def __init__(self, root: Path, place: str, max_package_bytes: int) -> None:
        super().__init__(root, max_package_bytes)
        try:
            self.place = reference.parse(place)
        except InvalidArgument as error:
            raise InvalidArgument(f"store.blobs: {error.message}") from None
        if self.place.name:
            raise InvalidArgument(
                f"store.blobs: '{place[:200]}' has a tag or a digest; packages have digests of their own"
            )

    def descriptor(self, digest: str) -> Descriptor:
        with suppress(NotFound):
            return super().descriptor(digest)
        with self.transfers.fetching(digest):
            if digest not in self.index.digests():
                self._fetch(digest)
        return super().descriptor(digest)

    def unpack(self, digest: str, into: Path) -> Path:
        """See `Layout`. Blobs that are altered or missing are fetched again."""
        try:
            return super().unpack(digest, into)
        except BadPackage as altered:
            try:
                with self.transfers.fetching(digest):
                    self._fetch(digest)
            except ArgosyError as error:
                raise altered from error
            return super().unpack(digest, into)

    def referrers(self, subject: str, artifact_type: str | None = None) -> list[Referrer]:
        """See `Layout`. What was attached on other machines is fetched; where that place is not reached, it is what is
        here."""
        try:
            with opened(self.place, report=LOG.warning) as remote:
                attachments(remote, self.place, subject, self, self.transfers)
        except ArgosyError as error:
            LOG.warning("what is attached to %s elsewhere is not known: %s", subject, error.message)
        return super().referrers(subject, artifact_type)

    def share(self, digest: str) -> None:
        """See `Layout`: send the package and what refers to it."""
        with opened(self.place, report=LOG.info) as remote:
            publish(remote, self.place, self, digest, self.transfers, image=False)

    def tag(self, digest: str, ref: str) -> None:
        """See `Layout`. The tag there keeps a registry from deleting the package; it holds a part of the digest, as
        two platforms may share a place."""
        super().tag(digest, ref)
        name = f"{re.sub('[^A-Za-z0-9_.-]', '-', ref)[:110]}-{digest.removeprefix('sha256:')[:12]}"
        entry = self.descriptor(digest)
        with opened(self.place, report=LOG.info) as remote:
            remote.enter(self.place.with_tag(name), entry, self.read(entry), None)

    def _fetch(self, digest: str) -> None:
        LOG.info("fetching %s from %s", digest, self.place)
        try:
            with opened(self.place, report=LOG.info) as remote:
                pull(remote, msgspec.structs.replace(self.place, digest=digest), self, self.transfers)
        except NotFound as error:
            raise NotFound(
                f"neither {self.root} nor {self.place} holds the package {digest}: push it again where it was pushed, "
                f"with store.blobs set to {self.place} ({error.message})"
            ) from None
