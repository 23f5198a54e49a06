"""A replica in a place on a Ray cluster, as its supervisor sees it."""

import asyncio
import contextlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from argosy.spec.address import Address, TlsIdentity
from argosy.spec.revision import Replica
from argosy.spec.settings import Home
from argosy.targets.group import Handle, Running
from argosy.targets.health import Health
from argosy.targets.ray.wire import Report
from argosy.targets.supervise import Slot

LOST = 10.0
"""Seconds without a connection to a replica after which it is replaced: Ray itself takes longer to miss a node."""
CONNECT = 1.0
"""Seconds for a connection to a node."""


class Spot:
    """The files of a replica on this machine, its log and its certificates, and its addresses on its node."""

    def __init__(self, home: Home, short: str, replica: str, identity: TlsIdentity) -> None:
        self.replica, self.identity = replica, identity
        self.log = home.logs / f"{replica}.log"
        self.certificates = home.run / "ray" / short.partition("/")[0]
        self.http = self.grpc = Address()
        self.work: Path | None = None
        self.recorder: Address | None = None
        self.engine: Address | None = None

    def clear(self) -> None:
        """Remove what an ended replica leaves behind; its log stays."""
        shutil.rmtree(self.certificates, ignore_errors=True)


class RemoteProcess:
    """The process of a place, by what is reported of it. `wanted`: what it was asked; `told`: the number of the driver
    that was told last, and what. `known`: whether the foreman has it in its table."""

    def __init__(self, report: Report, log: Path) -> None:
        self.report, self._log = report, log
        self.started, self.over, self.status = report.started, 0.0, report.status
        self.known = report.phase != "waiting"
        self.wanted: Literal["", "terminate", "kill"] = ""
        self.told: tuple[int, str] = (0, "")
        self.arrived = asyncio.Event()
        """It has a process, or is over."""
        self._over = False
        self._changed: Callable[[], None] = lambda: None

    @property
    def placed(self) -> bool:
        """Whether it has a process."""
        return self.report.phase == "running"

    def note(self, report: Report) -> bool:
        """Take in what is reported; whether more than its usage is new."""
        before, self.report, self.known = self.report, report, True
        self.started = report.started or self.started
        if report.phase == "ended" and not self._over:
            self._end(report.status, report.said)
        elif self.placed:
            self.arrived.set()
        return (before.phase, before.node, before.ports) != (report.phase, report.node, report.ports)

    def missing(self, driver: int) -> None:
        """The table has no row of it. It is over if it had one, or if this driver was to end it."""
        if self.known or (self.wanted and self.told == (driver, self.wanted)):
            self._end(None, "its actor on Ray is gone")

    def _end(self, status: int | None, said: str) -> None:
        if said:
            with contextlib.suppress(OSError), self._log.open("a") as file:
                file.write(f"{said.rstrip()}\n")
        self.status, self._over, self.over = status, True, self.report.ended or time.time()
        self.arrived.set()
        self._changed()

    def ended(self) -> bool:
        """Whether it is over, and reported to be."""
        return self._over

    def terminate(self) -> None:
        """Have it drain and end. One that nobody was told of is over."""
        self._ask("terminate")

    def kill(self) -> None:
        """End it with its actor."""
        self._ask("kill")

    def _ask(self, how: Literal["terminate", "kill"]) -> None:
        self.wanted = how
        if not self.known and not self.told[0]:
            self._end(None, "")
        self._changed()

    def memory(self) -> int:
        """Resident bytes, as measured last."""
        return self.report.memory

    def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed` whenever it is different."""
        self._changed = changed

    def unwatch(self) -> None:
        """Do so no more."""
        self._changed = lambda: None


class Remote(Running):
    """A replica on a node. Whether it is ready is found out by asking it, not Ray."""

    def __init__(self, home: Home, report: Report, identity: TlsIdentity) -> None:
        self.spot = Spot(home, report.spec.short, report.spec.replica, identity)
        self.handle = RemoteProcess(report, self.spot.log)
        super().__init__(self.spot, report.spec.revision, report.spec.slot, self.handle)
        self.sent: dict[str, str] = {}
        """The certificates that it was given last."""
        self._reach()

    def _reach(self) -> None:
        """Take its addresses from the report."""
        report = self.handle.report
        if self.handle.placed:
            pair = (Address(host=report.host, port=each, tls=self.spot.identity) for each in report.ports)
            self.spot.http, self.spot.grpc = pair
            self.spot.recorder = self.spot.http
            self.spot.engine = self.spot.grpc if self.revision.language else None

    def replica(self, slot: Slot) -> Replica:
        return msgspec.structs.replace(super().replica(slot), host=self.handle.report.host)

    async def _watch(self, process: Handle, changed: Callable[[], None]) -> None:
        """The time that it has to start begins with its process."""
        if not self.handle.placed:
            await self.handle.arrived.wait()
            self._reach()
            self.health = Health(born=time.monotonic())
            changed()
        await super()._watch(process, changed)

    async def _look(self) -> None:
        """One that cannot even be connected to takes no requests, at once: its process or its node is gone."""
        await super()._look()
        health = self.health
        if health.bad and health.verdict in ("ready", "unready") and not await _listens(self.spot.http):
            verdict = "hung" if time.monotonic() - health.bad_since >= LOST else "unready"
            self.health = msgspec.structs.replace(health, verdict=verdict, ready_since=None)


async def _listens(address: Address) -> bool:
    with contextlib.suppress(OSError):
        async with asyncio.timeout(CONNECT):
            _, writer = await asyncio.open_connection(address.host, address.port)
        writer.transport.abort()
        return True
    return False
