"""The driver of a job: one process that plans, deals fragments to workers, and seals what they have done."""

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
from argosy.batch.ledger import Entry, Ledger, Seal
from argosy.batch.lock import lock
from argosy.batch.place import place
from argosy.batch.plan import Plan
from argosy.batch.pool import Crew, Member
from argosy.batch.progress import Display, Meter
from argosy.batch.sizes import Sizes, usual
from argosy.batch.stage import Stage, check
from argosy.batch.wire import GRACE, Answered, Do, Done, Failed, Message, Reached, Ready
from argosy.process import launch
from argosy.process.cores import cores
from argosy.process.launch import Child
from argosy.spec.errors import ArgosyError, Conflict, Internal, Unavailable, table

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
        self._hand = scheduler.dealt(())
        self._quiet, self._heard = liveness.Quiet(), set[int]()
        self._crew: Crew
        self._meter: Meter
        self._failed: ArgosyError | None = None
        self._unready = 0
        self._actors = 0
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
        self._hand = scheduler.dealt([number for number in range(len(self.fragments)) if number not in self._entries])
        earlier = sum(entry.rows for entry in self._entries.values())
        self._meter = self._metered(earlier)
        if not self._hand.done:
            self.sizes = probe.sizes(self.plan, self.package, self._trusted)
            self._work_on_ray(display) if self.plan.job.engine == "ray" else self._work(display)
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
        todo, price = len(self._hand.todo), self.plan.job.price
        return Meter(earlier=earlier, total=total, todo=todo, fragments=len(sizes), price=price)

    def _work(self, display: Display) -> None:
        sizes = self.sizes
        told = ["--threads", str(sizes.threads), "--batch-size", str(sizes.batch_size)]
        told += ["--checkpoint", str(self.plan.job.checkpoint), *self._trusted]
        with Crew(self._child("argosy.batch.worker", told), self.stage.root / "logs") as crew, display:
            self._crew = crew
            shown = 0.0
            while not self._hand.done and not self._ending:
                while len(crew.members) < min(sizes.workers, self._hand.waiting + len(self._hand.held)):
                    crew.start()
                self._listen()
                self._end_hung()
                self._deal()
                if time.monotonic() - shown > TICK:
                    display.show(self._meter.view(len(crew.members)))
                    shown = time.monotonic()
            if self._ending:
                self._end()
            display.show(self._meter.view(len(crew.members)))
        if self._failed is not None:
            raise self._failed

    def _child(self, module: str, told: list[str]) -> Child:
        told = ["--output", self.ledger.output.url, "--package", str(self.package), *told]
        return launch.ours(module, *told, folder=Path.cwd(), more={"OMP_NUM_THREADS": str(self.sizes.threads)})

    def _work_on_ray(self, display: Display) -> None:
        """The same by actors of a cluster, to which a process of its own hands the fragments."""
        sizes, job = self.sizes, self.plan.job
        told = ["--workers", str(job.workers), "--threads", str(sizes.threads)]
        told += ["--batch-size", str(sizes.batch_size), "--checkpoint", str(job.checkpoint)]
        told += ["--patience", str(job.patience), "--address", _joined(), *self._trusted]
        with Crew(self._child("argosy.batch.cluster", told), self.stage.root / "logs", name="ray") as crew, display:
            self._crew = crew
            foreman = crew.start()
            member = crew.members[foreman]
            while len(self._entries) < len(self.fragments) and not self._ending:
                for _, message in crew.heard(TICK):
                    self._told_by_ray(member, message)
                display.show(self._meter.view(self._actors))
            crew.stop()
            if foreman in crew.members:
                crew.bury(foreman, patience=GRACE)
        if self._failed is not None:
            raise self._failed

    def _told_by_ray(self, foreman: Member, message: Message | None) -> None:
        match message:
            case Ready(difference):
                self._actors += 1
                self.difference = max(self.difference, difference)
            case Reached(number, tally) if number not in self._entries:
                self._meter.reached(number, tally.rows)
            case Done(entry) if entry.number not in self._entries:
                self._entries[entry.number] = entry
                self._meter.done(entry.number, entry.rows)
            case Failed(code, text):
                more = f". Look at {foreman.log}" if code == "internal" else ""
                self._failed = self._failed or table()[code](text + more)
            case None if foreman.pid in self._crew.members:
                self._crew.bury(foreman.pid)
                self._failed = self._failed or Unavailable(
                    f"the process that works with Ray {foreman.ended()}. Look at {foreman.log}; go on with --resume"
                )
            case _:
                pass

    @property
    def _ending(self) -> bool:
        if self._lost.is_set() and self._failed is None:
            self._failed = Conflict(f"another driver has taken over {self.ledger.output}: this one has stopped")
        return self._signals > 0 or self._failed is not None

    def _listen(self) -> None:
        for worker, message in self._crew.heard(TICK):
            self._heard.add(worker)
            if worker not in self._crew.members:
                continue
            if message is None:
                self._died(worker)
            else:
                self._told(worker, message)

    def _told(self, worker: int, message: Message) -> None:
        match message:
            case Ready(difference):
                self._crew.members[worker].ready = True
                self._unready = 0
                self.difference = max(self.difference, difference)
            case Reached(number, tally):
                self._hand = scheduler.reached(self._hand, worker, number, tally.rows)
                self._meter.reached(number, tally.rows)
            case Answered(number):
                self._hand = scheduler.answered(self._hand, worker, number)
            case Done(entry):
                self._hand = scheduler.finished(self._hand, worker, entry.number)
                self._entries[entry.number] = entry
                self._meter.done(entry.number, entry.rows)
            case Failed(code, text):
                self._failed = self._failed or table()[code](text)
            case _:
                raise Internal(f"a worker said what no worker says: {message}")

    def _deal(self) -> None:
        """Work for everybody who is ready and free, as long as there is any."""
        for worker, member in self._crew.members.items():
            if member.ready and scheduler.free(self._hand, worker):
                number, self._hand = scheduler.give(self._hand, worker)
                if number is not None:
                    self._crew.send(worker, Do(number))

    def _end_hung(self) -> None:
        """Kill the workers that have told nothing for longer than the job bears: they have crashed where they were."""
        seen = liveness.Seen(
            now=time.monotonic(),
            loading=frozenset(worker for worker, member in self._crew.members.items() if not member.ready),
            working=frozenset(self._hand.held),
            heard=frozenset(self._heard),
        )
        self._heard.clear()
        hung, self._quiet = liveness.look(self._quiet, seen, self.plan.job.patience)
        for worker, seconds in hung.items():
            self._died(worker, seconds)

    def _died(self, worker: int, silent: float | None = None) -> None:
        """A worker is gone, or is ended now since it was `silent` for so many seconds: others go on with what it had,
        unless what it had is what kills."""
        hung = silent is not None
        member = self._crew.kill(worker) if hung else self._crew.bury(worker)
        killer, self._hand = scheduler.died(self._hand, worker, killed=not hung and member.killed, hung=hung)
        if self._ending:
            return
        how = member.ended() if silent is None else _hung(silent)
        if killer is not None:
            where = self.fragments[killer.number].where(killer.rows if killer.rows >= 0 else None)
            self._failed = Internal(
                f"{where}: worker after worker died at the rows from there on; "
                f"the last {how}. Look at {member.log}, or take these rows out of the input"
            )
        if not member.ready:
            self._unready += 1
            if self._unready >= (scheduler.LIVES if hung else STARTS):
                self._failed = Internal(
                    f"{self._unready} workers in a row died before they had loaded the model; the last "
                    f"{how}. Look at {member.log}"
                )

    def _end(self) -> None:
        """Let the workers end by themselves; past the grace, or at a second signal, they are killed, which costs what
        they did since their last checkpoint."""
        self._crew.stop()
        limit = time.monotonic() + GRACE
        while self._crew.members and time.monotonic() < limit and self._signals < 2:
            self._listen()

    def _sealed(self) -> Seal:
        entries = list(self._entries.values())
        check(self.ledger.output, entries)
        seal = self.ledger.seal(self.plan, entries)
        self.stage.clear()
        return seal


def _hung(silent: float) -> str:
    """How one ended that was killed for its silence, in words."""
    return f"hung for {silent:.0f} s, told nothing and was killed: raise --patience if that is what its work takes"


def _joined() -> str:
    """The Ray cluster that this process has joined by itself, as a notebook may; empty without."""
    ray: Any = sys.modules.get("ray")
    return str(ray.get_runtime_context().gcs_address) if ray is not None and ray.is_initialized() else ""
