"""The control API's listener: a server inside the controller's own event loop."""

import asyncio
import contextlib
import socket
from typing import Any

from granian.constants import Interfaces
from granian.server.embed import Server

from argosy.control.port import check_free
from argosy.spec.settings import ControlSettings

STOP_SECONDS = 5.0


class ApiServer:
    """Serves an ASGI application at a host and port; port 0 takes a free one."""

    def __init__(self, app: Any, settings: ControlSettings) -> None:
        self._app, self._host, self._port = app, settings.host, settings.port
        self._task: asyncio.Task[None] | None = None
        self._server: Server | None = None

    async def start(self) -> str:
        """Listen, and say at which URL. Raises Conflict when the port is in use."""
        check_free(self._host, self._port, "control.port")
        with _reserve(self._host, self._port) as held:
            port = held.getsockname()[1]
            self._server = Server(
                self._app, self._host, port, interface=Interfaces.ASGINL, log_enabled=False, websockets=False
            )
            self._task = asyncio.create_task(self._server.serve())
            await self._listening(port)
        return f"http://{f'[{self._host}]' if ':' in self._host else self._host}:{port}"

    async def _listening(self, port: int) -> None:
        assert self._task is not None
        while not self._task.done():
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(_reachable(self._host), port)
                writer.close()
                return
            await asyncio.sleep(0.01)
        self._task.result()

    async def stop(self) -> None:
        """Answer what was asked, and listen no more."""
        if self._server is not None and self._task is not None:
            self._server.stop()
            await asyncio.wait([self._task], timeout=STOP_SECONDS)


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def _reserve(host: str, port: int) -> socket.socket:
    """A bound socket that does not listen: it holds the port while the server begins to listen at it."""
    held = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    held.bind((host, port))
    return held
