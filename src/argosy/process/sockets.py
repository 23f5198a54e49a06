"""Unix sockets at a path, for the user of this process alone; and connections to any address."""

import asyncio
import contextlib
import logging
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from argosy.process.limit import LogLimit
from argosy.spec.address import Address, TlsIdentity
from argosy.spec.errors import Conflict, InvalidArgument

if TYPE_CHECKING:
    import ssl

LOG = logging.getLogger(__name__)
LOG.addFilter(LogLimit(5, 60.0))
LINE = 64 * 1024
PATH_BYTES = 107
"""Bytes that the path of a Unix socket may have."""


def bind(path: Path, *, exclusive: bool = False) -> socket.socket:
    """A stream socket bound at `path`, which only this user (and root) can connect to. One that is there is replaced;
    with `exclusive` only where nobody listens on it. Raises InvalidArgument for a path that is too long, Conflict,
    OSError."""
    if len(os.fsencode(path)) > PATH_BYTES:
        raise InvalidArgument(f"the socket path {path} has more than {PATH_BYTES} bytes; choose a shorter ARGOSY_HOME")
    if exclusive and listened(path):
        raise Conflict(f"another process listens on {path}")
    path.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX)
    try:
        with contextlib.suppress(OSError):
            os.fchmod(bound.fileno(), 0o600)  # Linux makes the file with this mode, so that nobody is quicker
        bound.bind(str(path))
        path.chmod(0o600)
    except BaseException:
        bound.close()
        raise
    return bound


def listened(path: Path) -> bool:
    """Whether somebody listens there."""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


async def connect(
    address: Address, limit: int = LINE, caller: str = "controller"
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Streams to the server at `address`, as `caller`; `limit` bounds a line, in bytes. Raises OSError, also where TLS
    fails."""
    if address.path:
        return await asyncio.open_unix_connection(address.path, limit=limit)
    if address.tls is None:
        return await asyncio.open_connection(address.host, address.port, limit=limit)
    import ssl

    try:
        context = _context(address.tls, caller)
        return await asyncio.open_connection(
            address.host, address.port, limit=limit, ssl=context, server_hostname=address.tls.host
        )
    except ssl.SSLCertVerificationError as error:
        refused = f"the certificate shown at {address} for {address.tls.name} is refused: {error.verify_message}"
        LOG.warning("%s; `argosy up` renews those of this platform, unless another process listens there", refused)
        raise ConnectionError(refused) from None


_contexts: dict[tuple[str, str], tuple[list[int], "ssl.SSLContext"]] = {}


def _context(identity: TlsIdentity, caller: str) -> "ssl.SSLContext":
    """What is trusted and shown, made anew where a file has been replaced."""
    import ssl

    files = identity.authorities, identity.own(caller)
    stamp = [os.stat(each).st_mtime_ns for each in files]
    known = _contexts.get(files)
    if known is None or known[0] != stamp:
        context = ssl.create_default_context(cafile=files[0])
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(files[1])
        _contexts[files] = known = stamp, context
    return known[1]
