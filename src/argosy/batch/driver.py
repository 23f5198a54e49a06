"""The driver of a job: one process that assigns fragments to the workers of a pool, and seals what they have done."""

import os
import signal
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from argosy.batch import probe, requests, scheduler
from argosy.batch.cluster import RayPool
from argosy.batch.ledger import Entry, Ledger, Seal
from argosy.batch.lock import lock as alone
from argosy.batch.place import place
from argosy.batch.plan import Plan
from argosy.batch.pool import LocalPool
from argosy.batch.progress import Display, Meter
from argosy.batch.sizes import Sizes, usual
from argosy.batch.stage import Stage, check
from argosy.batch.wire import GRACE, Answered, Begin, Do, Done, Failed, Gone, Message, Reached, Ready, Slots, Stop
from argosy.engines.language.vllm import PYTHON
from argosy.packaging.package import Package
from argosy.process import launch
from argosy.process.cores import cores
from argosy.spec.errors import ArgosyError, Conflict, Internal, table

STARTS = 10
"""Workers in a row that may die before one is ready."""
TICK = 0.2


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended. `seal` is None where it was stopped before the end; `rows` are those done by this run,
    `difference` is the largest of its golden replays, and `entries` are all there are."""

    seal: Seal | None
    rows: int
    seconds: float
    sizes: Sizes
    difference: float
    entries: tuple[Entry, ...]


def drive(
    plan: Plan, package: Package, display: Display, *, begun: bool, signed: bool, lock: str, slots: Slots | None = None
) -> Outcome:
    """Do a job, or the rest of one that was `begun`. `lock` names what its workers may install. With `slots` its rows
    are answered there.

    SIGINT and SIGTERM end it after the rows that the engines have; a second one at once. Raises Conflict where another
    driver is at it, what a worker met, and Internal naming a fragment that kills whoever works at it.
    """
    ledger = Ledger(place(plan.job.output))
    driver = Driver(plan, ledger, package, signed, lock, slots)
    if not begun:
        ledger.check_empty()
    with alone(ledger.output, driver.lost.set):
        if not begun:
            ledger.begin(plan)
        with driver.signals():
            return driver.run(display)


class Driver:
    """One run of a job. `lost` is set once another driver has taken the lock."""

    def __init__(
        self,
        plan: Plan,
        ledger: Ledger,
        package: Package,
        signed: bool = False,
        lock: str = "",
        slots: Slots | None = None,
    ) -> None:
        self.plan, self.ledger = plan, ledger
        self.lost = threading.Event()
        self._generates = package.manifest.generates
        sizes = (requests.sizes if self._generates else usual)(plan.job, cores())
        self._begin = Begin(0, plan.job, sizes, str(package.folder.absolute()), package.trusted, signed, lock, slots)
        self._patience = plan.job.patience if slots is None else 0.0  # slots may be waited for without end
        self._stage = Stage(ledger.output)
        self._fragments = plan.fragments()
        self._entries: dict[int, Entry] = {}
        self._schedule = scheduler.Schedule(())
        self._liveness, self._heard = scheduler.Liveness(), set[int]()
        self._workers: LocalPool | RayPool
        self._ready: set[int] = set()
        self._difference = 0.0
        self._meter: Meter
        self._failed: ArgosyError | None = None
        self._unready = 0
        self._signals = 0

    @contextmanager
    def signals(self) -> Generator[None]:
        """Count SIGINT and SIGTERM instead of being ended by them; in the main thread, where they can be."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._signalled) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _signalled(self, *_: object) -> None:
        self._signals += 1

    def run(self, display: Display) -> Outcome:
        """Settle what the ledger has, work at the rest, seal the job."""
        begun = time.monotonic()
        self._stage.create()
        names = {fragment.id(self.plan.recipe): number for number, fragment in enumerate(self._fragments)}
        found = self.ledger.entries()
        self._entries = {names[name]: entry for name, entry in found.items() if name in names}
        for entry in self._entries.values():
            self._stage.settle(entry)
        left = [number for number in range(len(self._fragments)) if number not in self._entries]
        self._schedule = scheduler.Schedule(tuple(left))
        earlier = sum(entry.rows for entry in self._entries.values())
        rows = [fragment.rows for fragment in self._fragments]
        total = None if None in rows else sum(count or 0 for count in rows)
        self._meter = Meter(
            earlier=earlier, total=total, todo=len(left), fragments=len(rows), price=self.plan.job.price
        )
        if left:
            if not self._generates:
                self._begin = msgspec.structs.replace(self._begin, sizes=probe.sizes(self.plan, self._begin))
            self._work(self._pool(), display)
        entries = tuple(self._entries.values())
        seal: Seal | None = None
        if len(entries) == len(self._fragments):
            check(self.ledger.output, entries)
            seal = self.ledger.seal(self.plan, entries)
            self._stage.clear()
        return Outcome(
            seal=seal,
            rows=sum(entry.rows for entry in entries) - earlier,
            seconds=round(time.monotonic() - begun, 3),
            sizes=self._begin.sizes,
            difference=self._difference,
            entries=entries,
        )

    def _pool(self) -> LocalPool | RayPool:
        logs, more = self._stage.root / "logs", {"OMP_NUM_THREADS": str(self._begin.sizes.threads)}
        if self._generates and PYTHON in os.environ:
            more[PYTHON] = os.environ[PYTHON]
        if self.plan.job.engine == "local":
            child = launch.ours("argosy.batch.worker", folder=Path.cwd(), more=more)
            return LocalPool(child, self._begin, logs)
        ray: Any = sys.modules.get("ray")
        if ray is not None and ray.is_initialized():  # this process has joined a cluster by itself, as a notebook may
            more["RAY_ADDRESS"] = str(ray.get_runtime_context().gcs_address)
        return RayPool(launch.ours("argosy.batch.cluster", folder=Path.cwd(), more=more), self._begin, logs)

    def _work(self, pool: LocalPool | RayPool, display: Display) -> None:
        """Do what is left with the workers of a pool. Raises what ends the job."""
        self._workers = pool
        with pool, display as show:
            shown = 0.0
            try:
                while not self._schedule.done and not self._ending:
                    while len(pool.workers) < min(pool.capacity, self._schedule.waiting + len(self._schedule.assigned)):
                        pool.start()
                    self._receive()
                    self._end_hung()
                    self._assign()
                    if time.monotonic() - shown > TICK:
                        show(self._meter.view(len(pool.running)))
                        shown = time.monotonic()
                if self._ending:
                    self._stop()
            except ArgosyError as error:
                self._failed = self._failed or error
            show(self._meter.view(len(pool.running)))
        self._begin = msgspec.structs.replace(self._begin, sizes=pool.sizes)
        if self._failed is not None:
            raise self._failed

    @property
    def _ending(self) -> bool:
        if self.lost.is_set() and self._failed is None:
            self._failed = Conflict(f"another driver has taken over {self.ledger.output}: this one has stopped")
        return self._signals > 0 or self._failed is not None

    def _receive(self) -> None:
        for message in self._workers.receive(TICK):
            self._heard.add(message.worker)
            self._apply(message)

    def _apply(self, message: Message) -> None:
        match message:
            case Ready(worker, difference):
                self._ready.add(worker)
                self._unready = 0
                self._difference = max(self._difference, difference)
            case Reached(worker, number, tally):
                self._schedule = scheduler.reached(self._schedule, worker, number, tally.rows)
                self._meter.reached(number, tally.rows)
            case Answered(worker, number):
                self._schedule = scheduler.answered(self._schedule, worker, number)
            case Done(worker, entry):
                self._schedule = scheduler.finished(self._schedule, worker, entry.number)
                self._entries[entry.number] = entry
                self._meter.done(entry.number, entry.rows)
            case Failed(_, code, text):
                self._failed = self._failed or table()[code](text)
            case Gone():
                self._lose(message)
            case _:
                raise Internal(f"a worker sent what no worker sends: {message}")

    def _assign(self) -> None:
        """Give a fragment to each worker that is ready for one, as long as there are any."""
        for worker in self._ready:
            if scheduler.free(self._schedule, worker):
                number, self._schedule = scheduler.assign(self._schedule, worker)
                if number is not None:
                    self._workers.send(Do(worker, number))

    def _end_hung(self) -> None:
        """Kill the workers that have sent nothing for longer than the job's patience: they count as crashed."""
        hung, self._liveness = scheduler.check(
            self._liveness,
            time.monotonic(),
            self._patience,
            loading={*self._workers.running} - self._ready,
            working=self._schedule.assigned.keys(),
            heard=self._heard,
        )
        self._heard.clear()
        for worker, seconds in hung.items():
            self._lose(self._workers.kill(worker), seconds)

    def _lose(self, gone: Gone, silent: float | None = None) -> None:
        """Reassign the fragments of a worker that is gone, or that was killed for having been `silent` for so many
        seconds; fail the job if a fragment keeps killing workers, or if none of them gets as far as being ready."""
        hung, kind, worker = silent is not None, self._workers.kind, gone.worker
        ready = worker in self._ready
        self._ready.discard(worker)
        blamed, self._schedule = scheduler.lost(self._schedule, worker, killed=not hung and gone.killed, hung=hung)
        if self._ending:
            return
        how = gone.how
        if silent is not None:
            how = f"hung for {silent:.0f} s, reported nothing and was killed: raise --patience if its work takes longer"
        if blamed is not None:
            where = self._fragments[blamed.number].where(blamed.rows if blamed.rows >= 0 else None)
            self._failed = Internal(
                f"{where}: {kind} after {kind} died at the rows from there on; "
                f"the last {how}. Look at {gone.log}, or take these rows out of the input"
            )
        if not ready:
            self._unready += 1
            if self._unready >= (scheduler.LIVES if hung else STARTS):
                self._failed = Internal(
                    f"{self._unready} {kind}s in a row died before they had loaded the model; the last "
                    f"{how}. Look at {gone.log}"
                )

    def _stop(self) -> None:
        """Let the workers end by themselves. After the grace, or at a second signal, they are killed, which costs what
        they did since their last checkpoint."""
        for worker in self._workers.workers:
            self._workers.send(Stop(worker))
        limit = time.monotonic() + GRACE
        while self._workers.workers and time.monotonic() < limit and self._signals < 2:
            self._receive()
