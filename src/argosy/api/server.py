"""The controller's listeners: servers inside its own event loop, which no number of connections takes from it.

uvicorn's protocol answers; who may connect, and for how long, is decided here, from `accept` on: a TLS handshake that
never ends is a connection, too.
"""

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
from abc import ABC, abstractmethod
from asyncio.sslproto import SSLProtocol
from email.utils import formatdate
from pathlib import Path
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from argosy.process.sockets import bind
from argosy.serving.eviction import ConnectionLimits, ConnectionState, Phase, admit, overdue, peer_of, shared
from argosy.serving.port import open_files, take
from argosy.spec.settings import ControlSettings

LOG = logging.getLogger(__name__)

STOP_SECONDS = 5
BACKLOG = 1024
BURST = 8
"""Connections accepted before those that are there are heard: a whole request is read before so many come that its
connection would have to go."""
HEAD = 16 * 1024
"""Bytes of a head."""
PIECES = 4096
"""Reads or chunks that a body may come in."""
AHEAD = 64 * 1024
"""Bytes that may wait for their turn: of requests sent before the last one was answered."""
SWEEP = 0.5
TLS_BUFFER = 32 * 1024
"""Bytes that a TLS connection of this process reads into, two records; asyncio's own are 256 KiB for each."""
FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Parser(h11.Connection):
    """h11's, for bodies of no more pieces than cost a moment: each chunk is one, however small it is."""

    def __init__(self) -> None:
        super().__init__(h11.SERVER, HEAD)
        self._pieces = 0

    def next_event(self) -> Any:
        """What comes next. Raises RemoteProtocolError."""
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._pieces = 0
        self._pieces += isinstance(event, h11.Data)
        if self._pieces > PIECES:
            raise h11.RemoteProtocolError("the body comes in too many pieces")
        return event


class Protocol(H11Protocol):
    """uvicorn's side of one connection, which knows what it is at."""

    def __init__(self, config: uvicorn.Config, state: ServerState, owner: "Connection") -> None:
        super().__init__(config, state, {})
        self.logger, self.conn = LOG, Parser()
        self._owner = owner
        self._asked = self._taken = 0.0
        self._owed = 0

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._owner.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._owner.leave()

    def data_received(self, data: bytes) -> None:
        """Parse what arrived. Whoever sends more and more without waiting for an answer is ended."""
        if self.phase() is Phase.IDLE:
            self._asked = self.loop.time()
        super().data_received(data)
        if len(self.conn.trailing_data[0]) > AHEAD:
            self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP. Where an answer has begun, there is nothing left to say."""
        try:
            super().send_400_response(msg)
        except h11.LocalProtocolError:
            self.transport.abort()

    def on_response_complete(self) -> None:
        """An answer is given. The next request may have come."""
        self._asked = self.loop.time()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """The client takes less than it asked for."""
        self._taken = self.loop.time()
        super().pause_writing()

    def phase(self) -> Phase:
        """What it is at."""
        cycle: Any = self.cycle
        if self.flow.write_paused or self.transport.is_closing():
            return Phase.UNREAD
        if cycle is None:
            return Phase.HEAD
        if not cycle.response_complete:
            return Phase.BODY if cycle.more_body else Phase.BUSY
        if self.conn.their_state is h11.SEND_BODY:
            return Phase.BODY
        return Phase.HEAD if self.conn.trailing_data[0] else Phase.IDLE

    def since(self, phase: Phase) -> float:
        """When that began; of an answer that is not taken, when some of it was taken last, as far as was looked."""
        if phase is Phase.UNREAD and self.flow.write_paused:
            if (owed := self.transport.get_write_buffer_size()) < self._owed:
                self._taken = self.loop.time()
            self._owed = owed
            return self._taken
        return self._asked or self._owner.began


class Connection:
    """A connection, from its `accept` to its end."""

    def __init__(self, server: "Server", connection: socket.socket, peer: str) -> None:
        loop = asyncio.get_running_loop()
        self.peer, self.began = peer, loop.time()
        self.protocol: Protocol | None = None
        self.transport: asyncio.Transport | None = None
        self._server, self._connection, self._made = server, connection, False
        tls, seconds = server.tls, server.limits.head if server.tls else None

        def make() -> Protocol:
            self._made, self.protocol = True, Protocol(server.config, server.state, self)
            return self.protocol

        joining = loop.connect_accepted_socket(make, connection, ssl=tls, ssl_handshake_timeout=seconds)
        self._joining: asyncio.Task[Any] | None = loop.create_task(joining)
        self._joining.add_done_callback(self._joined)

    def _joined(self, joining: "asyncio.Task[Any]") -> None:
        """A handshake that failed, or that was ended, is no news. Nothing refers to the buffers of one that is over, so
        that they are free at once."""
        self._joining = None
        error = None if joining.cancelled() else joining.exception()
        if error is not None:
            error.__traceback__ = None
        if joining.cancelled() or error is not None:
            if not self._made:
                self._connection.close()
            self.leave()

    def state(self) -> ConnectionState:
        """What it is at, and since when."""
        if self.protocol is None or self.transport is None:
            return ConnectionState(self.peer, Phase.HEAD, self.began)
        phase = self.protocol.phase()
        return ConnectionState(self.peer, phase, self.protocol.since(phase))

    def end(self) -> None:
        if self.transport is not None:
            self.transport.abort()
        elif self._joining is not None:
            self._joining.cancel()
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)
        self.leave()

    def leave(self) -> None:
        self._server.connections.pop(self, None)
        self.protocol = self.transport = None


class Server(ABC):
    """Serves an ASGI application at a socket of its own, which it takes again should it ever lose it."""

    tls: ssl.SSLContext | None = None

    def __init__(self, app: Any, limits: ConnectionLimits | None = None) -> None:
        self.limits = shared(limits or ConnectionLimits(), open_files())
        self.config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_keep_alive=round(self.limits.idle),
        )
        self.state = ServerState()
        self.connections: dict[Connection, None] = {}
        self.ended = 0
        """Connections that were ended for others, and newcomers that found no place."""
        self.bound: socket.socket | None = None
        self.task: asyncio.Task[None] | None = None
        """Whoever runs it, ended by `stop`."""

    @abstractmethod
    def bind(self) -> socket.socket:
        """A socket to listen on."""

    async def run(self) -> None:
        """Answer, for ever. Raises OSError once there is nothing to listen on any more: the next run listens anew."""
        loop = asyncio.get_running_loop()
        bound = self.bound or self.bind()
        bound.setblocking(False)
        bound.listen(BACKLOG)
        self.bound, file = bound, bound.fileno()
        self._sweep()
        loop.add_reader(file, self._accept, bound)
        try:
            while bound.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                await asyncio.sleep(SWEEP)
                self._sweep()
            raise OSError(errno.EBADF, "the socket listens no more")
        finally:
            loop.remove_reader(file)
            self.bound = None
            with contextlib.suppress(OSError):
                bound.close()

    def _accept(self, bound: socket.socket) -> None:
        for _ in range(BURST):
            try:
                connection, address = bound.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._pause(bound, error)
                return
            connection.setblocking(False)
            peer = peer_of(str(address[0])) if bound.family != socket.AF_UNIX else ""
            others = list(self.connections)
            verdict = admit([each.state() for each in others], peer, self.limits)
            if verdict.ended is not None:
                others[verdict.ended].end()
            self.ended += verdict.ended is not None or not verdict.admitted
            if verdict.admitted:
                self.connections[Connection(self, connection, peer)] = None
            else:
                connection.close()

    def _pause(self, bound: socket.socket, error: OSError) -> None:
        """Out of files: whoever has asked for nothing gives one back, and nobody is asked in for a moment."""
        loop, file = asyncio.get_running_loop(), bound.fileno()
        loop.remove_reader(file)
        if error.errno in FULL:
            LOG.error("nobody can be let in: %s", error.strerror)
            for each in [each for each in self.connections if each.state().phase <= Phase.IDLE]:
                each.end()

            def resume() -> None:
                if self.bound is bound and bound.fileno() == file:
                    loop.add_reader(file, self._accept, bound)

            loop.call_later(SWEEP, resume)

    def _sweep(self) -> None:
        now, found = asyncio.get_running_loop().time(), list(self.connections)
        for index in overdue([each.state() for each in found], now, self.limits):
            found[index].end()
        self.state.default_headers = [(b"date", formatdate(usegmt=True).encode())]

    async def stop(self) -> None:
        """Listen no more, and answer what was asked, for a while."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait([self.task])
        for protocol in list(self.state.connections):
            protocol.shutdown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                while self.connections or self.state.tasks:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        for connection in list(self.connections):
            connection.end()
        for task in list(self.state.tasks):
            task.cancel()


class ApiServer(Server):
    """Serves at a host and port; port 0 takes a free one. `tls` has TLS spoken, and nothing else."""

    def __init__(self, app: Any, settings: ControlSettings, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(app)
        self.tls = tls
        if tls is not None:
            SSLProtocol.max_size = TLS_BUFFER
        self._host, self._port = settings.host, settings.port

    def bind(self) -> socket.socket:
        """Take the port. Raises Conflict when it is in use."""
        bound = take(self._host, self._port, "control.port")
        self._port = bound.getsockname()[1]
        return bound

    def listen(self) -> str:
        """Take the port, and say at which URL this machine reaches it; `run` answers. Raises Conflict."""
        self.bound = self.bind()
        self.bound.listen(BACKLOG)
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host)
        return f"{'https' if self.tls else 'http'}://{f'[{host}]' if ':' in host else host}:{self._port}"


class SocketServer(Server):
    """Listens at a Unix socket for the gateway, which bounds its callers itself, on so many connections at most."""

    def __init__(self, app: Any, path: Path, connections: int, whole: float) -> None:
        super().__init__(app, ConnectionLimits(total=connections, each=connections, whole=whole))
        self._path = path

    def bind(self) -> socket.socket:
        """At the home's socket."""
        return bind(self._path)

    async def stop(self) -> None:
        """Answer what was asked, and listen no more."""
        self._path.unlink(missing_ok=True)
        await super().stop()
