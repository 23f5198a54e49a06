"""The replicas of one revision: what is wanted, what runs, and the step that brings the two together."""

import asyncio
import time
from collections.abc import Callable, Collection
from pathlib import Path

from argosy.spec.errors import ArgosyError
from argosy.spec.revision import Revision, RevisionStatus
from argosy.targets import log
from argosy.targets.backoff import describe
from argosy.targets.launch import Launcher, new_place
from argosy.targets.running import Running
from argosy.targets.supervise import Observation, Slot, State, failure, supervise, unasked

RETRY_UNPACK = 5.0
SETTLE = 1.0


class Group:
    """State of one revision on this machine. Until its package is there, nothing of it is started."""

    def __init__(self, revision: Revision, launcher: Launcher, changed: Callable[[], None]) -> None:
        self.revision = revision
        self.want = 0
        self.settle = SETTLE
        self.package: Path | None = None
        self.trusted = False
        self._stale = False
        self.running: dict[int, Running] = {}
        self._launcher = launcher
        self._state: State = {}
        self._changed = changed
        self._error = ""
        self._replaced, self._trouble = 0, ""
        self._unpacking: asyncio.Task[None] | None = None

    def adopt(self, found: Running) -> None:
        """Take over a process that already runs, and want it until told otherwise."""
        while found.slot in self.running:
            found.slot += 1
        self.running[found.slot] = found
        self._state = {**self._state, found.slot: Slot(phase="running", since=time.monotonic())}
        self.want += 1

    def standing(self) -> RevisionStatus:
        """What is known of it."""
        idle = Slot()
        found = RevisionStatus(replicas=tuple(one.replica(self._state.get(n, idle)) for n, one in self.running.items()))
        failed = self._error or failure(self._state, found.ready)
        return RevisionStatus(replicas=found.replicas, failed=failed, replaced=self._replaced, trouble=self._trouble)

    def release(self, replicas: Collection[str]) -> None:
        """Note that the gateway sends these nothing more."""
        for one in self.running.values():
            one.released = one.released or one.place.replica in replicas

    def forgive(self) -> None:
        """Forget backoffs: what waits is started at the next step. Where starts have failed, the package and whether it
        is trusted are looked at first: hashing it takes long, and what runs well needs no look."""
        self._stale |= any(slot.backoff.failures or slot.backoff.refusals for slot in self._state.values())
        self._state = {n: slot for n, slot in self._state.items() if slot.phase != "idle"}

    def unpack(self, package: Callable[[str], Path], trusted: Callable[[str], bool]) -> None:
        """Fetch the package in the background, and whether it is trusted; again after a while if that fails."""
        if (self.package is None or self._stale) and self.want and self._unpacking is None:
            self._stale = False
            self._unpacking = asyncio.create_task(self._unpack(package, trusted))

    async def _unpack(self, package: Callable[[str], Path], trusted: Callable[[str], bool]) -> None:
        try:
            self.trusted = await asyncio.to_thread(trusted, self.revision.digest)
            self.package, self._error = await asyncio.to_thread(package, self.revision.digest), ""
        except (ArgosyError, OSError) as error:
            self.package, self._error = None, f"its package cannot be unpacked: {error}"
            self._changed()
            await asyncio.sleep(RETRY_UNPACK)
        finally:
            self._unpacking = None
            self._changed()

    async def step(self, threads: int) -> bool:
        """One round of supervision; new replicas get `threads`. Whether anything changed."""
        package = self.package
        seen = Observation(
            now=time.monotonic(),
            want=self.want,
            can_start=package is not None and self._unpacking is None,
            seen=tuple(one.seen() for one in self.running.values()),
            drain_timeout=self.revision.runtime.drain_timeout,
            settle=self.settle,
        )
        actions, state = supervise(seen, self._state)
        before = self._state
        changed, self._state = bool(actions) or state != self._state, state
        for act, slot in actions:
            if act == "start":
                assert package is not None
                self._start(slot, threads, package)
            elif act == "reap":
                await self._reap(self.running.pop(slot), before.get(slot, Slot(phase="running")))
            elif (process := self.running[slot].process) is not None:
                process.terminate() if act == "terminate" else process.kill()
        return changed

    def _start(self, slot: int, threads: int, package: Path) -> None:
        place = new_place(self._launcher.home, self.revision, slot)
        process, trouble = None, ""
        try:
            process = self._launcher.start(
                place, self.revision, slot, package=package, trusted=self.trusted, threads=threads
            )
        except ArgosyError as error:
            trouble = error.message
        self.running[slot] = one = Running(place, self.revision, slot, process, trouble=trouble)
        one.watch(self._changed)

    async def _reap(self, one: Running, slot: Slot) -> None:
        self._note_end(one, slot)
        await one.close()
        one.place.clear()

    def _note_end(self, one: Running, slot: Slot) -> None:
        """Count an end that nobody asked for and say in its log how it came; what it said last stands there already."""
        seen = one.seen()
        if (ended := unasked(seen, slot)) and seen.ended:
            self._replaced, self._trouble = self._replaced + 1, describe(ended)
            why = self._trouble.removesuffix(f": {seen.ended.reason}")
            log.note(one.place.log, f"replica {one.place.replica} is gone: {why}")

    async def close(self) -> None:
        """Stop looking; the processes are left alone."""
        if self._unpacking is not None:
            self._unpacking.cancel()
        for one in self.running.values():
            await one.close()
