"""Runs the jobs: starts, adopts, watches and ends one process for each run that goes on."""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import psutil

from argosy.alerting.allowed import Allowed
from argosy.jobs import plan
from argosy.jobs.deadlines import Deadlines
from argosy.jobs.folder import COMMAND, Folder, RunRequest
from argosy.jobs.slots import IdleSlots
from argosy.process import launch, managed
from argosy.process.process import Process, end, spawn
from argosy.process.repeat import repeat
from argosy.process.tail import last_words
from argosy.spec.batch import Submission, at
from argosy.spec.errors import ArgosyError
from argosy.spec.settings import BatchSettings, Home
from argosy.store import jobs
from argosy.store.database import Database
from argosy.store.jobs import Job, Run
from argosy.targets import log

LOG = logging.getLogger(__name__)
TICK = 1.0
DRAIN = 20.0
"""Seconds that a process has to commit what it has before it is killed."""


def processes(home: Home) -> dict[str, psutil.Process]:
    """The processes that run jobs of this home, by run: those that lead a session."""
    folder = (home.root / "jobs").absolute()
    found: dict[str, psutil.Process] = {}
    for process, words in managed.commands():
        last = Path(words[-1] if words else "")
        with contextlib.suppress(OSError):
            if last.parent == folder and os.getsid(process.pid) == process.pid:
                found[last.name] = process
    return found


class Jobs:
    """The jobs of one home, as `settings` say.
    What is to be done is in the database, so that a controller that starts anew goes on; processes outlive it. `slots`
    lends jobs those that endpoints leave idle."""

    def __init__(
        self,
        home: Home,
        database: Database,
        settings: BatchSettings,
        *,
        allowed: Allowed | None = None,
        slots: IdleSlots | None = None,
        command: Sequence[str] = COMMAND,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._home, self._database, self._settings, self._clock = home, database, settings, clock
        self._command, self._allowed, self.slots = command, allowed or Allowed(), slots
        self.deadlines = Deadlines(clock)
        self._processes: dict[str, Process] = {}
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Make a pass now: something was submitted or cancelled."""
        self._wake.set()

    async def start(self) -> None:
        """Adopt the processes of an earlier controller."""
        for run, found in (await asyncio.to_thread(processes, self._home)).items():
            with contextlib.suppress(psutil.Error):
                self._processes[run] = Process(found, child=False)

    async def run(self) -> None:
        """Make a pass every second, and lend slots, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(repeat(self.step, TICK, "a pass over the jobs", LOG, self._wake))
            if self.slots is not None:
                group.create_task(self.slots.run())

    async def step(self) -> None:
        """One pass. What is decided is written before it is done. Raises Unavailable, StorageFull."""
        declared, runs = await asyncio.to_thread(self._read)
        running = [run for run in runs if run.state == "running"]
        for run in running:
            await self._watch(run, declared[run.job])
        submissions = {name: _submission(job) for name, job in declared.items() if job.next is not None}
        schedules = {name: (each.schedule, each.timezone) for name, each in submissions.items()}
        if running:
            declared, runs = await asyncio.to_thread(self._read)
        for decision in plan.plan(declared.values(), schedules, runs, self._clock(), self._settings.parallel):
            if isinstance(decision, plan.Due):
                if not decision.queue:
                    LOG.warning("job '%s' is left out this time: its last run goes on", decision.job)
                await asyncio.to_thread(self._due, decision)
            else:
                await self._start(decision, declared[decision.job])

    def _read(self) -> tuple[dict[str, Job], list[Run]]:
        return {job.name: job for job in jobs.every(self._database)}, jobs.runs(self._database, open_only=True)

    def _due(self, due: plan.Due) -> None:
        jobs.schedule(self._database, due.job, due.at, due.then, queue=due.queue)
        self._wake.set()

    async def _start(self, run: Run, job: Job) -> None:
        now, folder = self._clock(), Folder.of(self._home, run.id)
        begun = msgspec.structs.replace(
            run, state="running", attempts=run.attempts + 1, started=run.started or now, error=""
        )
        batch = at(_submission(job), run.due)
        own = self.deadlines.own(run.id)
        batch = msgspec.structs.replace(batch, idle="") if own else batch
        slots = str(self.slots.path) if self.slots is not None and batch.idle else ""
        wanted = RunRequest(
            batch=batch,
            name=job.name,
            idle=self._settings.idle and not own and not slots,  # with slots its process hardly computes
            slots=slots,
            own=own,
            allowed=self._allowed,
        )
        await asyncio.to_thread(folder.begin, wanted)
        await asyncio.to_thread(jobs.note, self._database, begun)
        try:
            await asyncio.to_thread(self._allowed.check_job, batch)
            command = [*self._command, str(folder.path.absolute())]
            environ = launch.of_ours(self._home.root, {"ARGOSY_HOME": str(self._home.root.absolute())})
            self._processes[run.id] = spawn(command, environ, folder.log)
        except ArgosyError as error:
            await asyncio.to_thread(
                jobs.note, self._database, plan.ended(begun, error.exit, error.message, now, cancelled=False)
            )

    async def _watch(self, run: Run, job: Job) -> None:
        process = self._processes.get(run.id)
        if process is not None and not process.ended():
            log.rotate(Folder.of(self._home, run.id).log)
            if job.cancelled is not None or await asyncio.to_thread(self._moves, run, job):
                process.stop(DRAIN)
            return
        status = process.status if process is not None else None
        self._processes.pop(run.id, None)
        folder = Folder.of(self._home, run.id)
        result = folder.result()
        if result is not None:
            status, error = result.exit, result.error
        else:
            error = last_words(folder.log) if status else "its process is gone, and could not say why"
        done = plan.ended(run, status, error, self._clock(), cancelled=job.cancelled is not None)
        moves = self.deadlines.own(run.id) and (asked := folder.asked()) is not None and not asked.own
        if moves and job.cancelled is None and status != 0:
            done = msgspec.structs.replace(run, state="queued", attempts=run.attempts - 1)  # it goes on elsewhere
        elif done.state in jobs.OVER:
            self.deadlines.forget(run.id)
        await asyncio.to_thread(jobs.note, self._database, done)

    def _moves(self, run: Run, job: Job) -> bool:
        """Whether a run with a deadline is to go on elsewhere."""
        wanted, folder = _submission(job), Folder.of(self._home, run.id)
        use = self.slots.use(job.name) if self.slots is not None and wanted.batch.idle else None
        asked = folder.asked()
        return self.deadlines.look(run, wanted, folder.progress(), use, own=asked is None or asked.own)

    def free(self, run: str) -> bool:
        """Whether a run takes only slots that are paid for already."""
        asked = Folder.of(self._home, run).asked()
        return asked is not None and bool(asked.slots)

    async def stop(self) -> None:
        """End every process in good order; their runs wait for the next start of the platform and go on from there."""
        await asyncio.to_thread(end, list(self._processes.values()), DRAIN)
        runs = await asyncio.to_thread(jobs.runs, self._database, open_only=True)
        for run in runs:
            result = Folder.of(self._home, run.id).result()
            if run.state == "running" and (result is None or result.exit != 0):
                waits = msgspec.structs.replace(run, state="queued", attempts=run.attempts - 1)
                await asyncio.to_thread(jobs.note, self._database, waits)
        self._processes = {}


def _submission(job: Job) -> Submission:
    return msgspec.json.decode(job.spec, type=Submission)
