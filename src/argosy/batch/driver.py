"""The driver of a job: one process that assigns fragments to the workers of a pool, and seals what they have done."""

import signal
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from argosy.batch import liveness, probe, scheduler
from argosy.batch.cluster import RayPool
from argosy.batch.ledger import Entry, Ledger, Seal
from argosy.batch.lock import lock
from argosy.batch.place import place
from argosy.batch.plan import Plan
from argosy.batch.pool import LocalPool, Pool, stop
from argosy.batch.progress import Display, Meter
from argosy.batch.sizes import Sizes, usual
from argosy.batch.stage import Stage, check
from argosy.batch.wire import GRACE, Answered, Do, Done, Failed, Message, Reached, Ready
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


def drive(plan: Plan, package: Path, display: Display, *, begun: bool, trusted: bool = False) -> Outcome:
    """Do a job, or the rest of one that was `begun`.

    SIGINT and SIGTERM end it after the rows that the engines have; a second one at once. Raises Conflict where another
    driver is at it, what a worker met, and Internal naming a fragment that kills whoever works at it.
    """
    ledger = Ledger(place(plan.job.output))
    driver = Driver(plan, ledger, package, trusted)
    if not begun:
        ledger.check_empty()
    with lock(ledger.output, driver.lose):
        if not begun:
            ledger.begin(plan)
        with driver.signals():
            return driver.run(display)


class Driver:
    """One run of a job."""

    def __init__(self, plan: Plan, ledger: Ledger, package: Path, trusted: bool = False) -> None:
        self.plan, self.ledger, self.package = plan, ledger, package
        self._trusted = ["--trusted"] if trusted else []
        self.stage = Stage(ledger.output)
        self.sizes = usual(plan.job, cores())
        self.fragments = plan.fragments()
        self.difference = 0.0
        self._entries: dict[int, Entry] = {}
        self._schedule = scheduler.Schedule(())
        self._liveness, self._heard = liveness.Liveness(), set[int]()
        self._workers: Pool
        self._ready: set[int] = set()
        self._meter: Meter
        self._failed: ArgosyError | None = None
        self._unready = 0
        self._signals = 0
        self._lost = threading.Event()

    def lose(self) -> None:
        """The lock was taken away."""
        self._lost.set()

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
        """From what the ledger holds to the seal."""
        begun = time.monotonic()
        self.stage.create()
        names = {fragment.id(self.plan.recipe): number for number, fragment in enumerate(self.fragments)}
        found = self.ledger.entries()
        self._entries = {names[name]: entry for name, entry in found.items() if name in names}
        for entry in self._entries.values():
            self.stage.settle(entry)
        left = [number for number in range(len(self.fragments)) if number not in self._entries]
        self._schedule = scheduler.Schedule(tuple(left))
        earlier = sum(entry.rows for entry in self._entries.values())
        self._meter = self._metered(earlier)
        if not self._schedule.done:
            self.sizes = probe.sizes(self.plan, self.package, self._trusted)
            self._work(self._pool(), display)
        seal = self._sealed() if len(self._entries) == len(self.fragments) else None
        rows = sum(entry.rows for entry in self._entries.values()) - earlier
        seconds = round(time.monotonic() - begun, 3)
        return Outcome(
            seal=seal,
            rows=rows,
            seconds=seconds,
            sizes=self.sizes,
            difference=self.difference,
            entries=tuple(self._entries.values()),
        )

    def _metered(self, earlier: int) -> Meter:
        sizes = [fragment.rows for fragment in self.fragments]
        total = None if None in sizes else sum(size for size in sizes if size is not None)
        todo, price = len(self._schedule.todo), self.plan.job.price
        return Meter(earlier=earlier, total=total, todo=todo, fragments=len(sizes), price=price)

    def _pool(self) -> Pool:
        job, sizes, logs = self.plan.job, self.sizes, self.stage.root / "logs"
        arguments = ["--output", self.ledger.output.url, "--package", str(self.package), *self._trusted]
        arguments += ["--threads", str(sizes.threads), "--batch-size", str(sizes.batch_size)]
        arguments += ["--checkpoint", str(job.checkpoint)]
        on_ray = job.engine == "ray"
        if on_ray:
            arguments += ["--workers", str(job.workers), "--address", _ray_address()]
        module = "argosy.batch.cluster" if on_ray else "argosy.batch.worker"
        child = launch.ours(module, *arguments, folder=Path.cwd(), more={"OMP_NUM_THREADS": str(sizes.threads)})
        return RayPool(child, logs) if on_ray else LocalPool(child, logs, sizes.workers)

    def _work(self, pool: Pool, display: Display) -> None:
        """Do what is left with the workers of a pool. Raises what ends the job."""
        self._workers = pool
        with pool, display:
            shown = 0.0
            try:
                while not self._schedule.done and not self._ending:
                    while len(pool.workers) < min(pool.capacity, self._schedule.waiting + len(self._schedule.assigned)):
                        pool.start()
                    self._receive()
                    self._end_hung()
                    self._assign()
                    if time.monotonic() - shown > TICK:
                        display.show(self._meter.view(len(pool.running)))
                        shown = time.monotonic()
                if self._ending:
                    self._stop()
            except ArgosyError as error:
                self._failed = self._failed or error
            display.show(self._meter.view(len(pool.running)))
        if isinstance(pool, RayPool):
            self.sizes = pool.sizes or self.sizes
        if self._failed is not None:
            raise self._failed

    @property
    def _ending(self) -> bool:
        if self._lost.is_set() and self._failed is None:
            self._failed = Conflict(f"another driver has taken over {self.ledger.output}: this one has stopped")
        return self._signals > 0 or self._failed is not None

    def _receive(self) -> None:
        for worker, message in self._workers.receive(TICK):
            self._heard.add(worker)
            if worker not in self._workers.workers:
                continue
            if message is None:
                self._lose(worker)
            else:
                self._apply(worker, message)

    def _apply(self, worker: int, message: Message) -> None:
        match message:
            case Ready(difference):
                self._ready.add(worker)
                self._unready = 0
                self.difference = max(self.difference, difference)
            case Reached(number, tally):
                self._schedule = scheduler.reached(self._schedule, worker, number, tally.rows)
                self._meter.reached(number, tally.rows)
            case Answered(number):
                self._schedule = scheduler.answered(self._schedule, worker, number)
            case Done(entry):
                self._schedule = scheduler.finished(self._schedule, worker, entry.number)
                self._entries[entry.number] = entry
                self._meter.done(entry.number, entry.rows)
            case Failed(code, text):
                self._failed = self._failed or table()[code](text)
            case _:
                raise Internal(f"a worker sent what no worker sends: {message}")

    def _assign(self) -> None:
        """Give a fragment to each worker that is ready for one, as long as there are any."""
        for worker in self._ready:
            if scheduler.free(self._schedule, worker):
                number, self._schedule = scheduler.assign(self._schedule, worker)
                if number is not None:
                    self._workers.send(worker, Do(number))

    def _end_hung(self) -> None:
        """Kill the workers that have sent nothing for longer than the job's patience: they count as crashed."""
        hung, self._liveness = liveness.check(
            self._liveness,
            time.monotonic(),
            self.plan.job.patience,
            loading={*self._workers.running} - self._ready,
            working=self._schedule.assigned.keys(),
            heard=self._heard,
        )
        self._heard.clear()
        for worker, seconds in hung.items():
            self._lose(worker, seconds)

    def _lose(self, worker: int, silent: float | None = None) -> None:
        """Reassign the fragments of a worker that is gone, or that is killed for having been `silent` for so many
        seconds; fail the job if a fragment keeps killing workers, or if none of them gets as far as being ready."""
        hung = silent is not None
        end, kind = self._workers.end(worker, hung=hung), self._workers.kind
        ready = worker in self._ready
        self._ready.discard(worker)
        blamed, self._schedule = scheduler.lost(self._schedule, worker, killed=not hung and end.killed, hung=hung)
        if self._ending:
            return
        how = end.how
        if silent is not None:
            how = (
                f"hung for {silent:.0f} s, told nothing and was killed: raise --patience if that is what its work takes"
            )
        if blamed is not None:
            where = self.fragments[blamed.number].where(blamed.rows if blamed.rows >= 0 else None)
            self._failed = Internal(
                f"{where}: {kind} after {kind} died at the rows from there on; "
                f"the last {how}. Look at {end.log}, or take these rows out of the input"
            )
        if not ready:
            self._unready += 1
            if self._unready >= (scheduler.LIVES if hung else STARTS):
                self._failed = Internal(
                    f"{self._unready} {kind}s in a row died before they had loaded the model; the last "
                    f"{how}. Look at {end.log}"
                )

    def _stop(self) -> None:
        """Let the workers end by themselves. After the grace, or at a second signal, they are killed, which costs what
        they did since their last checkpoint."""
        stop(self._workers)
        limit = time.monotonic() + GRACE
        while self._workers.workers and time.monotonic() < limit and self._signals < 2:
            self._receive()

    def _sealed(self) -> Seal:
        entries = list(self._entries.values())
        check(self.ledger.output, entries)
        seal = self.ledger.seal(self.plan, entries)
        self.stage.clear()
        return seal


def _ray_address() -> str:
    """The Ray cluster that this process has joined by itself, as a notebook may; empty without."""
    ray: Any = sys.modules.get("ray")
    return str(ray.get_runtime_context().gcs_address) if ray is not None and ray.is_initialized() else ""
