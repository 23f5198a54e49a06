"""Where requests wait for the first replica of an endpoint: who may, and for whom it is over.

`capacity.waiting` decides. This keeps a future for each request, and reads the file in which the controller says which
endpoints may be waited for and which of their replicas are ready.
"""

import asyncio
import contextlib
import itertools
import time
from pathlib import Path

import msgspec

from argosy.capacity.waiting import Look, Refusal, Room, begin, decide
from argosy.spec.address import Address
from argosy.spec.limits import MOST
from argosy.spec.scaling import WaitingRoom

LOOK = 0.02
"""Seconds between two looks while somebody waits."""
AT_ONCE = 64
"""Requests that a ready replica is given at once."""


class Admitted(msgspec.Struct, frozen=True):
    """Go to this replica, at its address for HTTP or for gRPC. It is of this revision.

    A Unix socket stands as its bare path, as an activator that an earlier release started reads it."""

    revision: str
    http: Address | str
    grpc: Address | str = ""

    def at(self, *, grpc: bool = False) -> Address:
        """Its address."""
        there = self.grpc if grpc else self.http
        return Address(path=there) if isinstance(there, str) else there


class Door(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint that may be waited for. `ready`: its replicas; `most`: requests that may be with them at one time;
    `ready_in`: seconds that a start takes."""

    room: WaitingRoom = WaitingRoom()
    ready: tuple[Admitted, ...] = ()
    most: int = MOST
    ready_in: float = 0.0


Outcome = Admitted | Refusal


class Queue:
    """Who waits for one endpoint."""

    def __init__(self) -> None:
        self.state: Room = begin()
        self.came: list[int] = []
        self.left: set[int] = set()
        self.guests: dict[int, asyncio.Future[Outcome]] = {}
        self.serving = 0
        self.turn = 0

    def look(self, door: Door, now: float) -> None:
        """Let in, let go, and tell them."""
        free = min(AT_ONCE * len(door.ready), door.most) - self.serving
        seen = Look(now=now, came=tuple(self.came), left=frozenset(self.left), free=free, ready_in=door.ready_in)
        self.came.clear()
        self.left.clear()
        verdict, self.state = decide(seen, self.state, door.room)
        for number in verdict.serve:
            self._tell(number, door.ready[self.turn % len(door.ready)])
            self.turn += 1
        for refusal in verdict.refuse:
            self._tell(refusal.request, refusal)

    def _tell(self, number: object, outcome: Outcome) -> None:
        guest = self.guests.get(number) if isinstance(number, int) else None
        if guest is not None and not guest.done():
            guest.set_result(outcome)


class Hall:
    """The queues of all endpoints. `file` is written by the controller, whole or not at all."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.doors: dict[str, Door] = {}
        self._queues: dict[str, Queue] = {}
        self._numbers = itertools.count()
        self._stamp = (0, 0)
        self._called = asyncio.Event()

    def waiting(self) -> dict[str, int]:
        """How many wait, for each endpoint that is waited for."""
        return {name: len(queue.guests) for name, queue in self._queues.items() if queue.guests}

    async def wait(self, name: str) -> Outcome:
        """Until there is a replica, or no more hope. May be cancelled."""
        self._read()
        if name not in self.doors:
            return Refusal(name, 1, "this endpoint has no replica that takes requests")
        queue, number = self._queues.setdefault(name, Queue()), next(self._numbers)
        queue.guests[number] = future = asyncio.get_running_loop().create_future()
        queue.came.append(number)
        self._called.set()
        try:
            return await future
        finally:
            del queue.guests[number]
            queue.left.add(number)

    @contextlib.contextmanager
    def served(self, name: str):
        """A request of this endpoint is with a replica."""
        queue = self._queues.setdefault(name, Queue())
        queue.serving += 1
        try:
            yield
        finally:
            queue.serving -= 1

    async def run(self) -> None:
        """Look again and again, for ever."""
        while True:
            if not self.waiting():
                self._called.clear()
                await self._called.wait()
            self._read()
            for name, queue in self._queues.items():
                queue.look(self.doors.get(name, Door(room=WaitingRoom(size=0))), time.monotonic())
            await asyncio.sleep(LOOK)

    def _read(self) -> None:
        """What the controller says now; what it said before, where the file is away or broken."""
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            found = self.file.stat()
            if (found.st_ino, found.st_mtime_ns) != self._stamp:
                self.doors = msgspec.json.decode(self.file.read_bytes(), type=dict[str, Door])
                self._stamp = (found.st_ino, found.st_mtime_ns)
