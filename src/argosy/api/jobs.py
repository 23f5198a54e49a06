"""`/v1/jobs`: submit, list, read, follow and cancel batch jobs."""

import asyncio
import time
from collections.abc import AsyncIterator

import msgspec

from argosy.alerting.allowed import Allowed
from argosy.alerting.triggers.check import check_named
from argosy.api.platform import Lines, follow_lines
from argosy.api.route import Route, Services, Why
from argosy.jobs.folder import Folder, Progress
from argosy.jobs.plan import following
from argosy.jobs.slots import IdleUse
from argosy.spec.batch import Submission
from argosy.spec.errors import NotFound
from argosy.store import jobs
from argosy.store.jobs import Job, Run
from argosy.store.ledger import Cause


class Submitted(Submission, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A submission, by whom and why."""

    actor: str = ""
    reason: str = ""


class RunStatus(Run, frozen=True, kw_only=True):
    """A run and its progress; `report` is the path of its report once it is done, `idle` what it has of slots of an
    endpoint; `works` says where one with a deadline works, and why."""

    progress: Progress | None = None
    idle: IdleUse | None = None
    works: str = ""
    report: str = ""


class JobStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A job with its runs, the newest first. `state` is that of the last run, `scheduled` before the first."""

    name: str
    state: str
    job: Submission
    created: float
    actor: str = ""
    next: float | None = None
    cancelled: float | None = None
    runs: tuple[RunStatus, ...] = ()


class WhichLog(Lines, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of which run; 0 is the last."""

    run: int = 0


async def submit(services: Services, body: Submitted) -> JobStatus:
    """Store a job; it starts when there is capacity for it, or at the moments of its schedule.

    What it reads and writes is what `allow` in the settings says, and its model a reference of the registry, wherever
    callers are confined.
    """
    now = time.time()
    job = Submission(
        name=body.name, batch=body.batch, schedule=body.schedule, timezone=body.timezone, deadline=body.deadline
    )
    for name, value in job.batch.env.items():
        check_named(f"the batch job's env.{name}", name, value)
    await asyncio.to_thread(Allowed.of(services.settings).check_job, job.batch)
    record = Job(
        name=job.name,
        spec=msgspec.json.encode(job).decode(),
        created=now,
        actor=body.actor,
        next=following(job.schedule, job.timezone, now) if job.schedule else None,
    )
    await asyncio.to_thread(jobs.add, services.store.database, record, Cause(actor=body.actor, reason=body.reason))
    services.jobs.wake()
    return await one(services, job.name)


async def every(services: Services) -> list[JobStatus]:
    """All jobs with their last run, the newest first."""

    def read() -> list[JobStatus]:
        database = services.store.database
        last = jobs.last_runs(database)
        return [_status(services, job, [last[job.name]] if job.name in last else []) for job in jobs.every(database)]

    return await asyncio.to_thread(read)


async def one(services: Services, name: str) -> JobStatus:
    """One job with all its runs that are remembered. Raises NotFound."""

    def read() -> JobStatus:
        database = services.store.database
        return _status(services, jobs.get(database, name), jobs.runs(database, name))

    return await asyncio.to_thread(read)


async def cancel(services: Services, name: str, body: Why) -> JobStatus:
    """It runs no more; what runs commits its finished rows and ends. Raises NotFound."""
    cause = Cause(actor=body.actor, reason=body.reason)
    await asyncio.to_thread(jobs.cancel, services.store.database, name, time.time(), cause)
    services.jobs.wake()
    return await one(services, name)


async def logs(services: Services, name: str, query: WhichLog) -> AsyncIterator[bytes]:
    """What the process of a run has written. Raises NotFound."""
    found = await asyncio.to_thread(jobs.runs, services.store.database, jobs.get(services.store.database, name).name)
    run = next((each for each in found if query.run in (0, each.number)), None)
    if run is None or not (path := Folder.of(services.home, run.id).log).is_file():
        raise NotFound(f"job '{name[:80]}' has no log yet" + (f" of run {query.run}" if query.run else ""))
    return follow_lines(path, query, services.ending)


def _status(services: Services, job: Job, runs: list[Run]) -> JobStatus:
    shown: list[RunStatus] = []
    for run in runs:
        folder = Folder.of(services.home, run.id)
        result = folder.result() if run.state in jobs.OVER else None
        report = result.report if result else ""
        slots, going = services.jobs.slots, run.state == "running"
        idle = slots.use(job.name) if slots is not None and going else None
        works = services.jobs.deadlines.reason(run.id) if going else ""
        fields, progress = msgspec.structs.asdict(run), folder.progress()
        shown.append(RunStatus(**fields, progress=progress, report=report, idle=idle, works=works))
    return JobStatus(
        name=job.name,
        state=runs[0].state if runs else "cancelled" if job.cancelled else "scheduled",
        job=msgspec.json.decode(job.spec, type=Submission),
        created=job.created,
        actor=job.actor,
        next=job.next,
        cancelled=job.cancelled,
        runs=tuple(shown),
    )


ROUTES = (
    Route("GET", "/v1/jobs", every, "Batch jobs"),
    Route("POST", "/v1/jobs", submit, "Submit a batch job", status=201, most=1024 * 1024),
    Route("GET", "/v1/jobs/{name}", one, "A batch job"),
    Route("POST", "/v1/jobs/{name}/cancel", cancel, "Cancel a job"),
    Route("GET", "/v1/jobs/{name}/logs", logs, "The log of a run"),
)
