"""An HTTP listener on a TCP port or a Unix socket."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from argosy.process import sockets
from argosy.serving.connection import Connection
from argosy.serving.eviction import RESERVE, to_evict
from argosy.serving.exchange import Exchange, renew_date
from argosy.serving.port import open_files, take
from argosy.spec.address import Address
from argosy.spec.endpoint import Runtime

if TYPE_CHECKING:
    from argosy.serving.tls import ServerTls

IDLE_SECONDS = 120.0
"""How long a TCP connection may stay open without a request. The gateway closes its own, to a Unix socket or by TLS."""
MOST, MOST_OF_GATEWAY = 512, 8192
"""Connections on a TCP port, and of the gateway, which has bounded them before."""
MOST_UNREAD = 256 * 1024 * 1024
"""Bytes of answers that their clients do not read, of all connections together."""


class Listener:
    """Accepts connections on one address and hands each request to `handle`, until it is stopped."""

    def __init__(
        self, handle: Callable[[Exchange], None], address: Address, runtime: Runtime, tls: "ServerTls | None" = None
    ) -> None:
        self._handle = handle
        self._tls = tls
        self._inner = bool(address.path or tls)
        self._runtime = runtime
        self._connections: set[Connection] = set()
        self._emptied = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._most = max(16, min(MOST_OF_GATEWAY if self._inner else MOST, open_files() - RESERVE))
        self.address = address

    async def start(self) -> Address:
        """Begin to listen; the address with the port that was taken. Raises Conflict, InvalidArgument."""
        loop = asyncio.get_running_loop()
        bound, self.address = bind(self.address)
        tls: dict[str, Any] = self._tls.options if self._tls else {}
        self._server = await loop.create_server(self._connection, sock=bound, backlog=4096, **tls)
        self._sweep()
        return self.address

    async def stop(self, timeout: float = 5.0) -> None:
        """Accept nothing new, let current requests be answered (at most `timeout` seconds), close."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._connections):
            connection.shutdown()
        self._empty()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._emptied.wait(), timeout)
        for connection in list(self._connections):
            connection.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self.address.path:
            Path(self.address.path).unlink(missing_ok=True)

    def _connection(self) -> Connection:
        return Connection(self._handle, self._runtime, self)

    def add(self, connection: Connection) -> bool:
        """Whether there is a place for a new connection; another may be ended for it."""
        if len(self._connections) >= self._most:
            leaving = to_evict(self._connections)
            if leaving is None:
                return False
            self._connections.discard(leaving)
            leaving.abort()
        self._connections.add(connection)
        return True

    def end_unread(self) -> None:
        """End whoever reads least, while answers that nobody reads are too many bytes."""
        unread = {connection: connection.unread for connection in self._connections}
        total = sum(unread.values())
        for connection in sorted(unread, key=lambda one: unread[one], reverse=True):
            if total <= MOST_UNREAD:
                break
            total -= unread[connection]
            connection.abort()

    def remove(self, connection: Connection) -> None:
        """Forget a connection that has ended."""
        self._connections.discard(connection)
        self._empty()

    def _empty(self) -> None:
        if not self._connections:
            self._emptied.set()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        renew_date()
        if self._tls is not None:
            self._tls.renew()
        idle = float("inf") if self._inner else IDLE_SECONDS
        for connection in list(self._connections):
            connection.expire(loop.time(), idle)
        self._sweeper = loop.call_later(1.0, self._sweep)


def bind(address: Address) -> tuple[socket.socket, Address]:
    """A bound socket and its address, the port chosen when it is 0. Raises Conflict, InvalidArgument."""
    if address.path:
        return sockets.bind(Path(address.path), exclusive=True), address
    bound = take(address.host, address.port)
    return bound, Address(host=address.host, port=bound.getsockname()[1], tls=address.tls)
