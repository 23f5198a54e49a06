"""The controller's listeners: servers inside its own event loop."""

import asyncio
import contextlib
import socket
from collections.abc import Generator
from pathlib import Path
from typing import Any

import uvicorn

from argosy.serving.port import take
from argosy.spec.settings import ControlSettings

STOP_SECONDS = 5
IDLE_SECONDS = 75


class Server:
    """Serves an ASGI application at a socket."""

    def __init__(self, app: Any) -> None:
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

    def listen(self, bound: socket.socket) -> None:
        """Begin to answer."""
        bound.listen()
        self._task = asyncio.create_task(self._server.serve(sockets=[bound]))

    async def stop(self) -> None:
        """Answer what was asked, and listen no more."""
        if self._task is not None:
            self._server.should_exit = True
            await asyncio.wait([self._task])


class ApiServer(Server):
    """Serves at a host and port; port 0 takes a free one."""

    def __init__(self, app: Any, settings: ControlSettings) -> None:
        super().__init__(app)
        self._host, self._port = settings.host, settings.port

    async def start(self) -> str:
        """Listen, and say at which URL. Raises Conflict when the port is in use."""
        bound: socket.socket = take(self._host, self._port, "control.port")
        self.listen(bound)
        return f"http://{f'[{self._host}]' if ':' in self._host else self._host}:{bound.getsockname()[1]}"


def private(path: Path) -> socket.socket:
    """A Unix socket at this path that our user alone may use; one that a dead process left there is replaced."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(str(fresh))
    fresh.chmod(0o600)
    fresh.replace(path)
    return bound


class _Guest(uvicorn.Server):
    """One that leaves signals to its host."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield
