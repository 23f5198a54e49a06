"""One blob into a repository: there already, mounted, in one request, or in chunks that go on after a kill.

Source: OCI distribution-spec 1.1, pushing blobs. What a registry says of its own progress is believed.
"""

import re

import httpx

from argosy.spec.errors import ArgosyError, InvalidArgument, NotFound, PermissionDenied, Unauthenticated, Unavailable
from argosy.store.manifest import Descriptor
from argosy.store.oci.client import MOVED, Answer, Client
from argosy.store.oci.quirks import MIB
from argosy.store.oci.remote import Source
from argosy.store.oci.transfers import Transfers, Upload

CHUNK = 64 * MIB
"""Bytes above which a blob is sent in chunks, and of one."""
SMALL = 4 * MIB
"""Bytes of a chunk for a registry that refused a larger one."""
TRIES = 5
"""Times that an upload goes on after it broke off, or was refused, without progress."""
_RANGE = re.compile(r"(?:bytes=)?0-(\d+)")


def scopes(repository: str, *sources: str) -> tuple[str, ...]:
    """What a push asks a token service for; of the repositories that blobs are mounted from, only to read."""
    return (f"repository:{repository}:pull,push", *(f"repository:{each}:pull" for each in sources))


class Uploader:
    """Blobs for one repository. `chunk` bounds what one request sends."""

    def __init__(
        self, client: Client, repository: str, source: Source, transfers: Transfers, *, chunk: int = CHUNK
    ) -> None:
        self.client, self.repository, self.source, self.transfers = client, repository, source, transfers
        self.place = f"{client.host}/{repository}"
        self.single = chunk
        self.chunk = min(chunk, client.quirks.most_patch or chunk)
        self.scopes = scopes(repository)

    def send(self, blob: Descriptor) -> bool:
        """See to it that the repository has a blob. Returns whether bytes were sent."""
        with self.transfers.moving(f"{self.place}@{blob.digest}"):
            if self._there(blob):
                self.transfers.done(self.place, blob.digest)
                return False
            upload = self._left(blob) or self._begin(blob)
            if upload is not None:
                try:
                    self._finish(blob, upload)
                except InvalidArgument:  # it has other bytes: a repeated push must not go on with them
                    self.transfers.done(self.place, blob.digest)
                    raise
                self.transfers.done(self.place, blob.digest)
            return upload is not None

    def _there(self, blob: Descriptor) -> bool:
        answer = self.client.ask("HEAD", f"{self.repository}/blobs/{blob.digest}", self.scopes, fine=(200, 404, *MOVED))
        return answer.status != 404

    def _left(self, blob: Descriptor) -> Upload | None:
        """The upload that a killed push left, as the registry has it; None where it no longer has it."""
        left = self.transfers.upload(self.place, blob.digest)
        if left is None:
            return None
        try:
            upload = self._status(left)
        except ArgosyError:
            return None
        self.client.report(f"going on with {blob.digest[:19]} at {upload.offset:,} of {blob.size:,} bytes")
        return upload if upload.offset <= blob.size else None

    def _status(self, upload: Upload) -> Upload:
        url = self.client.base.join(upload.location)
        answer = self.client.ask("GET", url, self.scopes, fine=(204,))
        return self._next(answer, url)

    def _begin(self, blob: Descriptor) -> Upload | None:
        """Open an upload; None where the blob was mounted from another repository instead."""
        path = f"{self.repository}/blobs/uploads/"
        other = self.transfers.repository(self.client.host, blob.digest)
        if other and other != self.repository:
            url = self.client.base.join(f"{path}?mount={blob.digest}&from={other}")
            try:
                answer = self.client.ask("POST", url, scopes(self.repository, other), fine=(201, 202))
            except (NotFound, PermissionDenied, Unauthenticated):
                answer = self.client.ask("POST", path, self.scopes, fine=(202,))
            if answer.status == 201:
                return None
        else:
            answer = self.client.ask("POST", path, self.scopes, fine=(202,))
        least = answer.headers.get("oci-chunk-min-length", "")
        if least.isdecimal() and not self.client.quirks.most_patch:
            self.chunk = max(self.chunk, int(least))
        return Upload(str(self.client.beside(answer.url, answer.headers.get("location", ""))), 0)

    def _finish(self, blob: Descriptor, upload: Upload) -> None:
        """Send what is missing, in one request or in chunks, and close."""
        if blob.size <= self.single and upload.offset == 0:
            try:
                self._close(blob, upload, blob.size)
            except Unavailable as error:
                self.client.report(f"{error.message}: sending {blob.digest[:19]} again")
                if again := self._begin(blob):
                    self._close(blob, again, blob.size)
            return
        tries = 0
        while upload.offset < blob.size:
            before = upload.offset
            self.transfers.save(self.place, blob.digest, upload)
            upload = self._patch(blob, upload)
            tries = 0 if upload.offset > before else tries + 1
            if tries == TRIES:
                raise Unavailable(
                    f"{self.client.host} takes no more than {upload.offset} of {blob.size} bytes of {blob.digest}: "
                    "repeat the push later, it goes on there"
                )
            self.client.report(f"{blob.digest[:19]}: {upload.offset:,} of {blob.size:,} bytes")
        self.transfers.save(self.place, blob.digest, upload)
        self._close(blob, upload, 0)

    def _patch(self, blob: Descriptor, upload: Upload) -> Upload:
        """Send one chunk. Whatever becomes of it, the registry says where to go on."""
        length = min(self.chunk, blob.size - upload.offset)
        url = self.client.base.join(upload.location)
        try:
            answer = self.client.ask(
                "PATCH",
                url,
                self.scopes,
                headers={
                    "Content-Range": f"{upload.offset}-{upload.offset + length - 1}",
                    "Content-Type": "application/octet-stream",
                },
                body=lambda: self.source.read(blob, upload.offset, length),
                length=length,
                fine=(202, 416),
            )
        except Unavailable:
            return self._status(upload)
        if answer.status == 202:
            return self._next(answer, url)
        self.chunk = min(self.chunk, SMALL)
        return self._status(upload)

    def _next(self, answer: Answer, url: httpx.URL) -> Upload:
        """Where an answer says to go on."""
        location = answer.headers.get("location", "")
        taken = _RANGE.fullmatch(answer.headers.get("range", "").strip())
        offset = int(taken[1]) + 1 if taken else 0
        return Upload(str(self.client.beside(answer.url, location) if location else url), 0 if offset == 1 else offset)

    def _close(self, blob: Descriptor, upload: Upload, length: int) -> None:
        url = self.client.base.join(upload.location)
        url = httpx.URL(f"{url}{'&' if url.query else '?'}digest={blob.digest}")
        body = (lambda: self.source.read(blob, 0, length)) if length else None
        kind = {"Content-Type": "application/octet-stream"}
        self.client.ask("PUT", url, self.scopes, headers=kind, body=body, length=length, fine=(201, 204))
