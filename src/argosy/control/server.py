"""The control API's listener: a server inside the controller's own event loop."""

import asyncio
import contextlib
import socket
from collections.abc import Generator
from typing import Any

import uvicorn

from argosy.serving.port import take
from argosy.spec.settings import ControlSettings

STOP_SECONDS = 5
IDLE_SECONDS = 75


class ApiServer:
    """Serves an ASGI application at a host and port; port 0 takes a free one."""

    def __init__(self, app: Any, settings: ControlSettings) -> None:
        self._host, self._port = settings.host, settings.port
        self._task: asyncio.Task[None] | None = None
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=IDLE_SECONDS,
            timeout_graceful_shutdown=STOP_SECONDS,
        )
        self._server = _Guest(config)

    async def start(self) -> str:
        """Listen, and say at which URL. Raises Conflict when the port is in use."""
        bound: socket.socket = take(self._host, self._port, "control.port")
        bound.listen()
        self._task = asyncio.create_task(self._server.serve(sockets=[bound]))
        return f"http://{f'[{self._host}]' if ':' in self._host else self._host}:{bound.getsockname()[1]}"

    async def stop(self) -> None:
        """Answer what was asked, and listen no more."""
        if self._task is not None:
            self._server.should_exit = True
            await asyncio.wait([self._task])


class _Guest(uvicorn.Server):
    """One that leaves signals to its host."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield
