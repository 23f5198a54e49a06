"""The Envoy process: started apart from us, found again after our own death, stopped."""

import asyncio
import contextlib
import hashlib
import os
from pathlib import Path
from typing import Any

import msgspec
import psutil

from argosy.gateway.admin import Admin
from argosy.gateway.model import GatewayConfig
from argosy.process import process as processes
from argosy.process import tail
from argosy.process.cores import cores
from argosy.process.managed import commands
from argosy.process.process import adopted, spawn
from argosy.spec.address import Address
from argosy.spec.errors import ArgosyError, Internal, Unavailable
from argosy.spec.strict import stored

START_SECONDS = 20.0
LOG_BYTES = 2000
KILL_SECONDS = 5.0
_PASSED_ON = ("PATH", "HOME", "TMPDIR", "TZ", "LANG", "LD_LIBRARY_PATH")


class Running(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A started Envoy. `bootstrap` is a digest of its settings without the node."""

    pid: int
    created: float
    node: str
    command: list[str]
    bootstrap: str


class Process:
    """The handle of one home's Envoy. It outlives the handle and the process that holds it."""

    def __init__(self, binary: Path, config: GatewayConfig) -> None:
        self.binary = binary
        self.config = config
        self.admin = Admin(Address(path=config.admin_socket))
        self.running: Running | None = None
        self._process: processes.Process | None = None

    @property
    def record(self) -> Path:
        """Where the running Envoy is written down."""
        return Path(self.config.run_dir) / "envoy.json"

    async def start(self, bootstrap: dict[str, Any], node: str) -> None:
        """Starts Envoy in a session of its own and waits until its administration answers."""
        folder = Path(self.config.run_dir)
        # Envoy would make it readable by all: it holds who asked for what, and when.
        os.close(os.open(self.config.access_log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
        settings = folder / "bootstrap.json"
        settings.write_bytes(msgspec.json.encode(bootstrap))
        Path(self.config.admin_socket).unlink(missing_ok=True)
        command = self._command()
        environ = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        self._process = process = spawn(command, environ, Path(self.config.log_path))
        self.running = Running(process.pid, process.started, node, command, _digest(bootstrap))
        self.record.write_bytes(msgspec.json.encode(self.running))
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await self.admin.alive(node):
                    if not self.alive():
                        self._forget()
                        text = tail.end(Path(self.config.log_path), LOG_BYTES).decode(errors="replace").strip()
                        raise Internal(f"Envoy ended at its start: {text or '(no log)'}")
                    await asyncio.sleep(0.02)
        except TimeoutError:
            await self.kill()
            raise Unavailable(f"Envoy did not come up in {START_SECONDS:g} s; see {self.config.log_path}") from None

    async def adopt(self) -> bool:
        """Takes over the recorded Envoy if its administration says it is that one; else ends it."""
        if (running := stored(self.record, Running)) is None:
            return False
        if (found := adopted(running.pid, running.created)) is None:
            return False
        self.running, self._process = running, found
        if not await self.admin.alive(running.node):
            await self.kill()
            return False
        return True

    def started_with(self, bootstrap: dict[str, Any]) -> bool:
        """Whether the running one has this bootstrap, these flags and this binary: it takes those only at its start."""
        running = self.running
        return running is not None and (running.command, running.bootstrap) == (self._command(), _digest(bootstrap))

    def _command(self) -> list[str]:
        workers = self.config.concurrency or max(1, cores() // 2)
        drain = max(1, round(self.config.drain_seconds))
        command = [str(self.binary), "-c", str(Path(self.config.run_dir) / "bootstrap.json")]
        # Without hot restart there is no shared memory, and two homes cannot meet in it.
        command += ["--disable-hot-restart", "--log-level", "warning", "--file-flush-interval-msec", "1000"]
        return [*command, "--concurrency", str(workers), "--drain-time-s", str(drain)]

    def alive(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and not self._process.ended()

    async def stop(self, drain_seconds: float) -> None:
        """Stops accepting, lets what is in flight finish, ends the process; by force when it does not end."""
        if not self.alive():
            return self._forget()
        drained = False
        with contextlib.suppress(ArgosyError, TimeoutError):
            async with asyncio.timeout(drain_seconds):
                await self.admin.post("/drain_listeners")
                while sum((await self.admin.stats(r"^http\.argosy\.downstream_rq_active$")).values()):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
                drained = True
        if self._process is not None:
            self._process.terminate()
        if not await self._ended(KILL_SECONDS):
            await self.kill()
        elif drained and self.running is not None and self.config.quota:
            with contextlib.suppress(Unavailable):  # else its leases are charged, as if it had been killed
                await Admin(Address(path=self.config.quota)).exchange("POST", "/drained", b"%d" % self.running.pid)
        return self._forget()

    async def kill(self) -> None:
        """Ends the process at once."""
        if self._process is not None:
            self._process.kill()
        await self._ended(KILL_SECONDS)
        self._forget()

    async def _ended(self, seconds: float) -> bool:
        return self._process is None or await asyncio.to_thread(self._process.wait, seconds)

    def _forget(self) -> None:
        self.running = self._process = None
        self.record.unlink(missing_ok=True)
        Path(self.config.admin_socket).unlink(missing_ok=True)


def started_in(folder: Path) -> list[psutil.Process]:
    """The Envoys that were started with the bootstrap file of this folder."""
    file = str(folder.absolute() / "bootstrap.json")
    return [process for process, words in commands() if file in words]


def _digest(bootstrap: dict[str, Any]) -> str:
    rest = {key: value for key, value in bootstrap.items() if key != "node"}
    return hashlib.sha256(msgspec.json.encode(rest, order="sorted")).hexdigest()
