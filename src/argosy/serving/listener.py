"""An HTTP listener: Granian embedded in our event loop, on a TCP port or a Unix socket."""

import asyncio
import contextlib
import errno
import os
import socket
from pathlib import Path
from typing import Any

from argosy.serving.config import Address
from argosy.spec.errors import Conflict, InvalidArgument

SOCKET_PATH_LIMIT = 107


class Listener:
    """Serves an RSGI or ASGI application on one address until it is stopped."""

    def __init__(self, application: Any, address: Address, interface: str = "rsgi") -> None:
        self._application = application
        self._interface = interface
        self._server: Any = None
        self._task: asyncio.Task[None] | None = None
        self.address = address

    async def start(self) -> Address:
        """Begin to listen; the address with the port that was taken. Raises Conflict when it is in use."""
        from granian.constants import HTTPModes, Interfaces
        from granian.server.embed import Server

        self.address = claim(self.address)
        self._server = Server(
            self._application,
            address=self.address.host,
            port=self.address.port,
            uds=Path(self.address.path) if self.address.path else None,
            interface=Interfaces(self._interface),
            log_enabled=False,
            websockets=False,
            backlog=4096,
            backpressure=4096,
            http=HTTPModes.http1,
        )
        task = self._task = asyncio.ensure_future(self._server.serve())
        await asyncio.wait([task], timeout=0)
        while not self._server.wrks and not task.done():
            await asyncio.wait([task], timeout=0.001)
        if task.done():
            await task
        return self.address

    async def stop(self) -> None:
        """Finish the connections' current requests and close."""
        if self._server is not None and self._task is not None:
            self._server.stop()
            await self._task
            if self.address.path:
                Path(self.address.path).unlink(missing_ok=True)


def claim(address: Address) -> Address:
    """Check that an address is free, and choose the port when it is 0. Raises Conflict, InvalidArgument."""
    if address.path:
        return _claim_path(address)
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with contextlib.closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except OSError as error:
            raise _explain(error, address) from None
        except OverflowError:
            raise InvalidArgument(f"{address.port} is no port; use 0 to 65535") from None
        return Address(host=address.host, port=probe.getsockname()[1])


def _claim_path(address: Address) -> Address:
    if len(os.fsencode(address.path)) > SOCKET_PATH_LIMIT:
        raise InvalidArgument(
            f"the socket path {address.path} has more than {SOCKET_PATH_LIMIT} bytes; choose a shorter ARGOSY_HOME"
        )
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
        try:
            probe.connect(address.path)
        except OSError:
            Path(address.path).unlink(missing_ok=True)
            return address
    raise Conflict(f"another process listens on {address.path}")


def _explain(error: OSError, address: Address) -> Exception:
    if error.errno == errno.EADDRINUSE:
        return Conflict(f"port {address.port} on {address.host} is in use; stop what listens there or choose another")
    if error.errno in (errno.EADDRNOTAVAIL, errno.EACCES) or isinstance(error, socket.gaierror):
        return InvalidArgument(f"cannot listen on {address}: {error.strerror}")
    return error
