"""Unix sockets at a path, for the user of this process alone; and connections to any address."""

import asyncio
import contextlib
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from argosy.spec.address import Address, TlsIdentity
from argosy.spec.errors import Conflict, InvalidArgument

if TYPE_CHECKING:
    import ssl

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


async def connect(address: Address, limit: int = LINE) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Streams to the server at `address`; `limit` bounds a line, in bytes. Raises OSError, also where TLS fails."""
    if address.path:
        return await asyncio.open_unix_connection(address.path, limit=limit)
    if address.tls is None:
        return await asyncio.open_connection(address.host, address.port, limit=limit)
    context = _context(address.tls)
    return await asyncio.open_connection(
        address.host, address.port, limit=limit, ssl=context, server_hostname=address.tls.name
    )


def _context(identity: TlsIdentity) -> "ssl.SSLContext":
    """Made anew each time, so that certificates may be replaced in their files."""
    import ssl

    context = ssl.create_default_context(cafile=identity.authorities)
    if identity.certificate:
        context.load_cert_chain(identity.certificate, identity.key)
    return context
