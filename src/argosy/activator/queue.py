"""The queues in which requests wait for the first replica of an endpoint: who may wait, and for whom it is over.

A request is refused for two reasons only: the queue is full, or it has waited for `deadline` seconds. Waits are added
up from tick to tick, so that a clock that jumps neither refuses everybody nor lets anybody wait for ever.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Generator, Sequence
from pathlib import Path

import msgspec

from argosy.spec.address import Address
from argosy.spec.limits import MOST
from argosy.spec.scaling import ActivatorQueue

TICK = 0.02
"""Seconds between two decisions while somebody waits."""
AT_ONCE = 64
"""Requests that a ready replica is given at once."""
LONGEST_GAP = 10.0
"""The most that one tick may add to a wait, seconds."""
SHORTEST_RETRY, LONGEST_RETRY = 1.0, 600.0


class Destination(msgspec.Struct, frozen=True):
    """Go to this replica, at its address for HTTP, for gRPC or for its engine. It is of this revision."""

    revision: str
    http: Address
    grpc: Address | None = None
    engine: Address | None = None

    def of(self, head: bytes) -> Address:
        """Where a request with this head goes: OpenAI's API is the engine's own."""
        return self.engine if self.engine is not None and head.split(b" ", 2)[1].startswith(b"/v1/") else self.http


class ActivatedEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint that may be waited for. `ready`: its replicas; `most`: requests that may be with them at one time;
    `ready_in`: seconds that a start takes, 0 where that is not known."""

    queue: ActivatorQueue = msgspec.field(default=ActivatorQueue(), name="room")
    ready: tuple[Destination, ...] = ()
    most: int = MOST
    ready_in: float = 0.0


class Refusal(msgspec.Struct, frozen=True):
    """Answer 503 with `Retry-After: retry_after` (whole seconds)."""

    reason: str
    retry_after: int = 1


Outcome = Destination | Refusal


def decide(waited: Sequence[float], free: int, endpoint: ActivatedEndpoint) -> list[Refusal | bool]:
    """For each request, which has `waited` so many seconds, in order of their coming: True to serve it now, by as many
    as are `free`; False to let it wait on; or a refusal. Pure."""
    known = endpoint.ready_in if math.isfinite(endpoint.ready_in) else 0.0
    retry_after = math.ceil(min(max(known, SHORTEST_RETRY), LONGEST_RETRY))
    size, waiting = endpoint.queue.size, 0
    found: list[Refusal | bool] = []
    for place, seconds in enumerate(waited):
        if place < free:
            found.append(True)
        elif seconds >= endpoint.queue.deadline:
            found.append(Refusal(f"waited {seconds:.0f} s for a replica to start", retry_after))
        elif waiting >= size:
            found.append(Refusal(f"{size} requests wait already for a replica", retry_after))
        else:
            found.append(False)
            waiting += 1
    return found


class Waiter:
    """A request that waits; `waited` is None until the first tick."""

    def __init__(self) -> None:
        self.waited: float | None = None
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()


class Queue:
    """Who waits for one endpoint, and how many of its requests are with replicas (`serving`)."""

    def __init__(self) -> None:
        self.waiters: list[Waiter] = []
        self.serving = 0
        self._turn = 0
        self._at = math.nan

    def tick(self, endpoint: ActivatedEndpoint, now: float) -> None:
        """Let requests go to replicas, or refuse them."""
        gap = now - self._at
        gap = min(gap, LONGEST_GAP) if gap > 0 else 0.0
        self._at = now if math.isfinite(now) else math.nan
        open_ = [each for each in self.waiters if not each.outcome.done()]
        waited = [0.0 if each.waited is None else each.waited + gap for each in open_]
        free = max(min(AT_ONCE * len(endpoint.ready), endpoint.most) - self.serving, 0)
        for each, seconds, decision in zip(open_, waited, decide(waited, free, endpoint), strict=True):
            each.waited = seconds
            if isinstance(decision, Refusal):
                each.outcome.set_result(decision)
            elif decision:
                each.outcome.set_result(endpoint.ready[self._turn % len(endpoint.ready)])
                self._turn += 1


class Queues:
    """The queues of all endpoints. The controller writes `file`, whole or not at all."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.endpoints: dict[str, ActivatedEndpoint] = {}
        self._queues: dict[str, Queue] = {}
        self._stamp = (0, 0)
        self._called = asyncio.Event()

    def waiting(self) -> dict[str, int]:
        """How many wait, for each endpoint that is waited for."""
        return {name: len(queue.waiters) for name, queue in self._queues.items() if queue.waiters}

    async def wait(self, name: str) -> Outcome:
        """Until there is a replica, or no more hope. May be cancelled."""
        self._read()
        if name not in self.endpoints:
            return Refusal("this endpoint has no replica that takes requests")
        queue, waiter = self._queues.setdefault(name, Queue()), Waiter()
        queue.waiters.append(waiter)
        self._called.set()
        try:
            return await waiter.outcome
        finally:
            queue.waiters.remove(waiter)

    @contextlib.contextmanager
    def served(self, name: str) -> Generator[None]:
        """A request of this endpoint is with a replica."""
        queue = self._queues.setdefault(name, Queue())
        queue.serving += 1
        try:
            yield
        finally:
            queue.serving -= 1

    async def run(self) -> None:
        """Decide again and again, for ever."""
        while True:
            if not self.waiting():
                self._called.clear()
                await self._called.wait()
            self._read()
            for name, queue in self._queues.items():
                unknown = ActivatedEndpoint(queue=ActivatorQueue(size=0))
                queue.tick(self.endpoints.get(name, unknown), time.monotonic())
            await asyncio.sleep(TICK)

    def _read(self) -> None:
        """What the controller says now; what it said before, where the file is away or broken."""
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            found = self.file.stat()
            if (found.st_ino, found.st_mtime_ns) != self._stamp:
                self.endpoints = msgspec.json.decode(self.file.read_bytes(), type=dict[str, ActivatedEndpoint])
                self._stamp = (found.st_ino, found.st_mtime_ns)
