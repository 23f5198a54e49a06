"""The replicas of one revision: what is wanted, what runs, and the step that brings the two together."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import msgspec

from argosy.language.config import adapters_in
from argosy.process.tail import last_words
from argosy.spec.address import Address
from argosy.spec.errors import ArgosyError, BadSignature
from argosy.spec.revision import Replica, ReplicaPhase, Revision, RevisionStatus
from argosy.targets import log
from argosy.targets.backoff import Ended, describe
from argosy.targets.ends import EndLog
from argosy.targets.health import Health, Probe, ask, probe, update
from argosy.targets.supervise import Observation, ProcessState, Slot, State, failure, supervise, unasked

RETRY_UNPACK = 5.0
SETTLE = 1.0
SLEEP, WAKE = "/argosy/sleep", "/argosy/wake"
"""What a replica whose engine can sleep is told."""

P = TypeVar("P")
P_contra = TypeVar("P_contra", contravariant=True)


class Handle(Protocol):
    """The process of a replica, wherever it runs. `watch` calls back when it has ended, or is different.
    `over`: when it ended, in seconds since 1970."""

    started: float
    over: float
    status: int | None

    def ended(self) -> bool: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...
    def memory(self) -> int: ...
    def watch(self, changed: Callable[[], None]) -> None: ...
    def unwatch(self) -> None: ...


class Where(Protocol):
    """What a running copy has: the id of its replica, addresses, a log on this machine, and a folder, if here."""

    replica: str
    log: Path

    @property
    def work(self) -> Path | None: ...

    @property
    def http(self) -> Address: ...
    @property
    def grpc(self) -> Address: ...
    @property
    def recorder(self) -> Address | None: ...
    @property
    def engine(self) -> Address | None: ...
    def clear(self) -> None: ...


class Running:
    """One process of a slot, from its start to its end, and a task that probes it. `process` is None if the start
    itself failed."""

    def __init__(self, place: Where, revision: Revision, slot: int, process: Handle | None, *, trouble: str = ""):
        self.place = place
        self.revision = revision
        self.slot = slot
        self.process = process
        self.released = False
        self.awake = True
        self.moves = False
        self.adapters: tuple[str, ...] = ()
        self._turned = asyncio.Event()
        self.health = Health(born=time.monotonic())
        self._log_start = log.size(place.log)
        self._trouble = trouble
        self._over = ""
        self._task: asyncio.Task[None] | None = None

    def state(self) -> ProcessState:
        """What supervision decides by."""
        ended: Ended | None = None
        if self.process is None or self.process.ended():
            since, now = self.health.ready_since, time.monotonic()
            ended = Ended(
                now=now,
                status=self.process.status if self.process else 1,
                healthy=now - since if since is not None else 0.0,
                reason=self._trouble or last_words(self.place.log, self._log_start),
            )
        return ProcessState(
            slot=self.slot,
            verdict=self.health.verdict,
            released=self.released,
            over=self._over,
            moves=self.moves,
            ended=ended,
        )

    def replica(self, slot: Slot) -> Replica:
        """What the target reports of it."""
        phase: ReplicaPhase = "ready" if self.health.verdict == "ready" else "starting"
        if slot.phase in ("stopping", "hung"):
            phase = "stopping"
        elif slot.phase in ("draining", "released"):
            phase = "draining"
        elif slot.phase == "asleep":
            phase = "asleep"
        return Replica(
            id=self.place.replica,
            endpoint=self.revision.endpoint,
            revision=self.revision.id,
            phase=phase,
            http=self.place.http,
            grpc=None if self.place.engine else self.place.grpc,
            recorder=self.place.recorder,
            engine=self.place.engine,
            started=self.process.started if self.process else 0.0,
            restarts=slot.restarts,
            doing=self._doing() if phase == "starting" else "",
            adapters=self.adapters,
        )

    def _doing(self) -> str:
        if self.process is None:
            return f"it cannot be started: {self._trouble}"
        return "its process begins" if self.health.answered is None else "it loads its model and checks it"

    async def probe_adopted(self) -> None:
        """Probe one that was adopted: where it does not answer it is busy, and goes on serving as it did."""
        found = await self._probe()
        if found.live == "silent":
            found = msgspec.structs.replace(found, live="yes", ready="yes")
        self.health = update(found, self.health)
        if self.revision.at_zero == "asleep" and found.live == "yes":
            await ask(self.place.http, WAKE, 2.0, "POST")

    def watch(self, changed: Callable[[], None]) -> None:
        """Begin to probe, and call `changed` whenever something is different."""
        if self.process is not None:
            self.process.watch(changed)
            self._task = asyncio.create_task(self._watch(self.process, changed))

    async def _watch(self, process: Handle, changed: Callable[[], None]) -> None:
        while not process.ended():
            before, over, loaded = self.health.verdict, self._over, self.adapters
            await self._look()
            if self.revision.language is not None and self.place.work is not None:  # it tells them before it is ready
                self.adapters = adapters_in(self.place.work)
            self._over = over or self._past_its_time() or await self._past_its_memory(process)
            if (self.health.verdict, self._over, self.adapters) != (before, over, loaded):
                changed()
            await self._turn()
            soon = self.health.verdict == "starting" or (self.awake and self.health.verdict == "unready")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.1 if soon else 1.0):
                    await self._turned.wait()
            self._turned.clear()

    def turn(self, *, awake: bool) -> None:
        """Have it sleep or serve, if it can."""
        if awake != self.awake:
            self.awake, self.released = awake, self.released and not awake
            if awake:  # what is known of it may be older than that it was told to sleep
                self.health = msgspec.structs.replace(self.health, verdict="unready", ready_since=None)
            self._turned.set()

    async def _turn(self) -> None:
        """Say so, as long as it is not as it shall be."""
        if self.revision.at_zero == "asleep" and self.health.verdict == ("unready" if self.awake else "ready"):
            await ask(self.place.http, WAKE if self.awake else SLEEP, 2.0, "POST")

    async def _look(self) -> None:
        self.health = update(await self._probe(), self.health)

    def _past_its_time(self) -> str:
        """Why it has to be replaced, if it starts for longer than it may."""
        bound = self.revision.runtime.start_timeout
        if self.health.verdict != "starting" or time.monotonic() - self.health.born < bound:
            return ""
        return f"it was not ready after {bound:g} s ({self._doing()}), and was replaced"

    async def _past_its_memory(self, process: Handle) -> str:
        """Why it has to be replaced, if it uses more than was declared."""
        bound = self.revision.resources.memory
        used = await asyncio.to_thread(process.memory) if bound else 0
        if used <= bound:
            return ""
        return f"it used {used >> 20} MiB of memory, {bound >> 20} MiB are declared, and was replaced"

    async def _probe(self) -> Probe:
        return await probe(self.place.http, self.revision.runtime.hang_timeout)

    async def close(self) -> None:
        """Stop probing; the process is left alone."""
        if self.process is not None:
            self.process.unwatch()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)  # which is cancelled itself where its caller is


class Start(Protocol[P_contra]):
    """Starts a process in a slot. What goes wrong is told by what it returns."""

    def __call__(self, revision: Revision, slot: int, package: P_contra, threads: int) -> Running: ...


class Group(Generic[P]):
    """State of one revision at a target. Until its package, a `P`, is there, nothing of it is started. `ends` is told
    when runs have ended."""

    def __init__(self, revision: Revision, start: Start[P], changed: Callable[[], None], ends: EndLog) -> None:
        self.revision = revision
        self._ends = ends
        self.want = 0
        self.settle = SETTLE
        self.leaving = False
        self.running: dict[int, Running] = {}
        self.package: P | None = None
        self._stale = self._revised = False
        self._launch = start
        self._state: State = {}
        self._changed = changed
        self._error = ""
        self._replaced, self._trouble = 0, ""
        self._unpacking: asyncio.Task[None] | None = None

    def adopt(self, found: Running) -> None:
        """Take over a process that already runs, and want it until `want` is set."""
        while found.slot in self.running:
            found.slot += 1
        self.running[found.slot] = found
        self._state = {**self._state, found.slot: Slot(phase="running", since=time.monotonic())}
        self.want += 1

    def revise(self, revision: Revision) -> None:
        """The same one with other adapters: they are fetched, for those that run as well."""
        self.revision, self._stale, self._revised = revision, True, True

    def revised(self) -> P | None:
        """The package with these adapters, once, when it is there."""
        if not self._revised or self._stale or self._unpacking is not None or self.package is None:
            return None
        self._revised = False
        return self.package

    def status(self) -> RevisionStatus:
        """What is known of it."""
        replicas = tuple(one.replica(self._state.get(slot, Slot())) for slot, one in self.running.items())
        ready = any(each.phase == "ready" for each in replicas)
        failed = self._error or ("" if ready else failure(self._state))
        return RevisionStatus(replicas=replicas, failed=failed, replaced=self._replaced, trouble=self._trouble)

    def release(self, replicas: Collection[str]) -> None:
        """The gateway sends these nothing more."""
        for one in self.running.values():
            one.released = one.released or one.place.replica in replicas

    def forgive(self) -> None:
        """Forget backoffs: what waits is started at the next step. Only where starts have failed, the package and
        whether it is trusted are read again first, since hashing it takes long."""
        self._stale |= any(slot.backoff.failures or slot.backoff.refusals for slot in self._state.values())
        self._state = {n: slot for n, slot in self._state.items() if slot.phase != "idle"}

    def unpack(self, fetch: Callable[[Revision], P]) -> None:
        """Fetch the package in the background; again after a while if that fails."""
        if (self.package is None or self._stale) and self.want and self._unpacking is None:
            self._stale = False
            self._unpacking = asyncio.create_task(self._unpack(fetch))

    async def _unpack(self, fetch: Callable[[Revision], P]) -> None:
        try:
            self.package, self._error = await asyncio.to_thread(fetch, self.revision), ""
        except (ArgosyError, OSError) as error:
            what = "is refused" if isinstance(error, BadSignature) else "cannot be prepared"
            self.package, self._error = None, f"its package {what}: {error}"
            self._changed()
            await asyncio.sleep(RETRY_UNPACK)
        finally:
            self._unpacking = None
            self._changed()

    async def step(self, threads: int) -> bool:
        """One round of supervision; new replicas get `threads`. Whether anything changed."""
        package = self.package
        observed = Observation(
            now=time.monotonic(),
            want=self.want,
            can_start=package is not None and self._unpacking is None,
            processes=tuple(one.state() for one in self.running.values()),
            drain_timeout=self.revision.runtime.drain_timeout,
            settle=self.settle,
            sleeps=self.revision.at_zero == "asleep" and not self.leaving,
        )
        before = self._state
        actions, self._state = supervise(observed, before)
        changed = bool(actions) or self._state != before
        for slot, one in self.running.items():
            one.turn(awake=self._state.get(slot, Slot()).phase != "asleep")
        for act, slot in actions:
            if act == "start":
                assert package is not None
                self.running[slot] = one = self._launch(self.revision, slot, package, threads)
                one.watch(self._changed)
            elif act == "reap":
                await self._reap(self.running.pop(slot), before.get(slot, Slot(phase="running")))
            elif (process := self.running[slot].process) is not None:
                process.terminate() if act == "terminate" else process.kill()
        return changed

    async def _reap(self, one: Running, slot: Slot) -> None:
        """Clear up; count an end that nobody asked for, and write into its log how it came. What it said last stands
        there already."""
        state = one.state()
        if one.process is not None and (replica := one.replica(slot)).started:
            self._ends.add(replica, one.process.over)
        if (ended := unasked(state, slot)) and state.ended:
            self._replaced, self._trouble = self._replaced + 1, describe(ended)
            why = self._trouble.removesuffix(f": {state.ended.reason}")
            log.note(one.place.log, f"replica {one.place.replica} is gone: {why}")
        await one.close()
        one.place.clear()

    async def close(self) -> None:
        """Stop probing; the processes are left alone."""
        if self._unpacking is not None:
            self._unpacking.cancel()
        for one in self.running.values():
            await one.close()
