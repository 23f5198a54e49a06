"""A running replica as its target sees it: process, health, and a task that keeps looking."""

import asyncio
import contextlib
import time
from collections.abc import Callable

import msgspec

from argosy.process.process import Process
from argosy.process.tail import last_words
from argosy.spec.address import Address
from argosy.spec.revision import Replica, ReplicaPhase, Revision
from argosy.targets import log
from argosy.targets.backoff import Ended
from argosy.targets.health import Health, Probe, judge, look
from argosy.targets.launch import Place
from argosy.targets.supervise import Seen, Slot


class Running:
    """One process of a slot, from its start to its end. `process` is None if the start itself failed."""

    def __init__(self, place: Place, revision: Revision, slot: int, process: Process | None, *, trouble: str = ""):
        self.place = place
        self.revision = revision
        self.slot = slot
        self.process = process
        self.released = False
        self.health = Health(born=time.monotonic())
        self._log_start = log.size(place.log)
        self._trouble = trouble
        self._over = ""
        self._task: asyncio.Task[None] | None = None

    def seen(self) -> Seen:
        """What supervision is told."""
        ended: Ended | None = None
        if self.process is None or self.process.ended():
            since, now = self.health.ready_since, time.monotonic()
            ended = Ended(
                now=now,
                status=self.process.status if self.process else 1,
                healthy=now - since if since is not None else 0.0,
                reason=self._trouble or last_words(self.place.log, self._log_start),
            )
        return Seen(slot=self.slot, verdict=self.health.verdict, released=self.released, over=self._over, ended=ended)

    def replica(self, slot: Slot) -> Replica:
        """What others are told."""
        phase: ReplicaPhase = "starting"
        if slot.phase in ("stopping", "hung"):
            phase = "stopping"
        elif slot.phase == "draining":
            phase = "draining"
        elif self.health.verdict == "ready":
            phase = "ready"
        return Replica(
            id=self.place.replica,
            endpoint=self.revision.endpoint,
            revision=self.revision.id,
            phase=phase,
            http=Address(path=self.place.http),
            grpc=Address(path=self.place.grpc),
            started=self.process.started if self.process else 0.0,
            restarts=slot.restarts,
            doing=self._doing() if phase == "starting" else "",
        )

    def _doing(self) -> str:
        if self.process is None:
            return f"it cannot be started: {self._trouble}"
        return "its process begins" if self.health.answered is None else "it loads its model and checks it"

    async def first_look(self) -> None:
        """For one that was adopted: silence is taken for a busy replica, which goes on serving as it did."""
        probe = await self._probe()
        if probe.live == "silent":
            probe = msgspec.structs.replace(probe, live="yes", ready="yes")
        self._fold(probe)

    def watch(self, changed: Callable[[], None]) -> None:
        """Begin to look, and call `changed` whenever something is different."""
        if self.process is not None:
            self.process.watch(changed)
            self._task = asyncio.create_task(self._keep_looking(changed))

    async def _keep_looking(self, changed: Callable[[], None]) -> None:
        while self.process is not None and not self.process.ended():
            if self._fold(await self._probe()) or self._past_its_time() or await self._past_its_memory():
                changed()
            await asyncio.sleep(0.1 if self.health.verdict == "starting" else 1.0)

    def _past_its_time(self) -> bool:
        """Whether it has just been found to start for longer than it may."""
        bound = self.revision.runtime.start_timeout
        if self._over or self.health.verdict != "starting" or time.monotonic() - self.health.born < bound:
            return False
        self._over = f"it was not ready after {bound:g} s ({self._doing()}), and was replaced"
        return True

    async def _past_its_memory(self) -> bool:
        """Whether it has just been found to use more than was declared."""
        bound = self.revision.resources.memory
        if not bound or self._over or self.process is None:
            return False
        used = await asyncio.to_thread(self.process.memory)
        if used > bound:
            self._over = f"it used {used >> 20} MiB of memory, {bound >> 20} MiB are declared, and was replaced"
        return bool(self._over)

    async def _probe(self) -> Probe:
        hang = self.revision.runtime.hang_timeout
        probe = await look(Address(path=self.place.http), now=time.monotonic(), hang_timeout=hang)
        return msgspec.structs.replace(probe, now=time.monotonic())

    def _fold(self, probe: Probe) -> bool:
        before = self.health.verdict
        _, self.health = judge(probe, self.health)
        return self.health.verdict != before

    async def close(self) -> None:
        """Stop looking; the process is left alone."""
        if self.process is not None:
            self.process.unwatch()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
