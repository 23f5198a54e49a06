"""What devices fetch: the plan of an update, and blobs, of which they may ask for a range.

The routes are those of the devices (`/edge/v1/plan`, `/edge/v1/blobs/<sha256>`), whose sessions say which packages a
device may have.
"""

import asyncio
import re
from collections.abc import Collection
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.types import Receive, Scope, Send

from argosy.edge.delta import Ways
from argosy.edge.wire import SESSION, TransferPlan
from argosy.spec.errors import InvalidArgument, NotFound, Unavailable
from argosy.store.manifest import check_digest
from argosy.store.store import Store

STREAMS, EACH = 256, 4
"""Blobs on their way at one time, and those of one session."""
SECONDS = 900.0
"""After which an answer ends, so that nobody holds one for ever: a device goes on with a range."""
HAVE = 4
"""Packages that a device may say it has."""


class DeviceTransfers:
    """The ways to packages of this store, and who is reading them."""

    def __init__(self, store: Store) -> None:
        self.ways = Ways(store.layout, store.home.cache / "transfers")
        self._open: dict[object, str] = {}

    async def plan(self, packages: Collection[str], package: str, have: str = "") -> TransferPlan:
        """How a device that may have `packages` gets one of them, from those that it has: digests, between commas.
        Raises NotFound, InvalidArgument; Unavailable while the ways are being made."""
        given = [check_digest(each) for each in have.split(",") if each]
        if len(given) > HAVE:
            raise InvalidArgument(f"have: {len(given)} packages; a device says {HAVE} at most")
        if check_digest(package) not in packages:
            raise NotFound(f"no update of this device has the package {package}")
        # What was never sent to it tells nothing, and is no work.
        theirs = [each if each in packages else UNKNOWN for each in given]
        return await asyncio.to_thread(self.ways.plan, package, theirs, 0)

    async def blob(self, packages: Collection[str], sha256: str, request: Request) -> Response:
        """A blob of a way to one of `packages`, or the part of it that the request's Range names. Raises NotFound,
        InvalidArgument, Unavailable."""
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            raise InvalidArgument(f"'{sha256[:80]}' is no SHA-256")
        if "," in request.headers.get("range", ""):
            raise InvalidArgument("Range: one range at a time")
        session = request.headers.get(SESSION, "")
        for most, there in ((STREAMS, len(self._open)), (EACH, sum(each == session for each in self._open.values()))):
            if there >= most:
                raise Unavailable(f"{most} blobs are on their way already: come again", retry_after=5)
        path = await asyncio.to_thread(self.ways.blob, packages, sha256)
        return _Blob(path, session, self._open)

    def close(self) -> None:
        """End what is being made."""
        self.ways.close()


UNKNOWN = "sha256:" + "0" * 64


class _Blob(FileResponse):
    def __init__(self, path: Path, session: str, others: dict[object, str]) -> None:
        super().__init__(path, media_type="application/octet-stream")
        self.session, self.others = session, others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.others[self] = self.session
        try:
            async with asyncio.timeout(SECONDS):
                await super().__call__(scope, receive, send)
        finally:
            del self.others[self]
