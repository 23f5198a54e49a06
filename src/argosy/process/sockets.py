"""Unix sockets at a path, for the user of this process alone."""

import contextlib
import os
import socket
from pathlib import Path

from argosy.spec.errors import Conflict, InvalidArgument

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
