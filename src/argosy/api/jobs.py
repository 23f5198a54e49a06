"""`/v1/jobs`: submit, list, look at, follow and cancel batch jobs."""

import asyncio
import time
from collections.abc import AsyncIterator

import msgspec

from argosy.alerting.allowed import Allowed
from argosy.alerting.triggers.check import check_named
from argosy.api.platform import Lines, follow_lines
from argosy.api.route import Call, Route, Services
from argosy.jobs.folder import Folder, Progress
from argosy.jobs.plan import following
from argosy.spec.errors import NotFound
from argosy.spec.job import Submission
from argosy.store import jobs
from argosy.store.jobs import Job, Run
from argosy.store.ledger import Cause


class Submitted(Submission, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A submission, by whom and why."""

    actor: str = ""
    reason: str = ""


class Why(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who does something, and why."""

    actor: str = ""
    reason: str = ""


class RunStatus(Run, frozen=True, kw_only=True):
    """A run and how far it is; `report` is the path of its report once it is done."""

    progress: Progress | None = None
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


async def submit(call: Call) -> JobStatus:
    """Keep a job; it starts when there is room for it, or at the moments of its schedule.

    What it reads and writes is what `allow` in the settings says, and its model a reference of the registry, wherever
    callers are confined.
    """
    told: Submitted = call.body
    services, now = call.services, time.time()
    job = Submission(name=told.name, batch=told.batch, schedule=told.schedule, timezone=told.timezone)
    for name, value in job.batch.env.items():
        check_named(f"the batch job's env.{name}", name, value)
    await asyncio.to_thread(Allowed.of(services.settings).check_job, job.batch)
    record = Job(
        name=job.name,
        spec=msgspec.json.encode(job).decode(),
        created=now,
        actor=told.actor,
        next=following(job.schedule, job.timezone, now) if job.schedule else None,
    )
    await asyncio.to_thread(jobs.add, services.store.database, record, Cause(actor=told.actor, reason=told.reason))
    services.jobs.wake()
    return await asyncio.to_thread(_one, services, job.name)


async def every(call: Call) -> list[JobStatus]:
    """All jobs with their last run, the newest first."""

    def look() -> list[JobStatus]:
        database = call.services.store.database
        last = jobs.last_runs(database)
        return [_told(call.services, job, [last[job.name]] if job.name in last else []) for job in jobs.every(database)]

    return await asyncio.to_thread(look)


async def one(call: Call) -> JobStatus:
    """One job with all its runs that are remembered. Raises NotFound."""
    return await asyncio.to_thread(_one, call.services, call.path["name"])


async def cancel(call: Call) -> JobStatus:
    """It runs no more; what runs commits what it holds and ends. Raises NotFound."""
    why: Why = call.body
    database = call.services.store.database
    cause = Cause(actor=why.actor, reason=why.reason)
    await asyncio.to_thread(jobs.cancel, database, call.path["name"], time.time(), cause)
    call.services.jobs.wake()
    return await asyncio.to_thread(_one, call.services, call.path["name"])


async def logs(call: Call) -> AsyncIterator[bytes]:
    """What the process of a run has said. Raises NotFound."""
    wanted: WhichLog = call.query
    services, name = call.services, call.path["name"]
    found = await asyncio.to_thread(jobs.runs, services.store.database, jobs.get(services.store.database, name).name)
    run = next((each for each in found if wanted.run in (0, each.number)), None)
    if run is None or not (path := Folder.of(services.home, run.id).log).is_file():
        raise NotFound(f"job '{name[:80]}' has no log yet" + (f" of run {wanted.run}" if wanted.run else ""))
    return follow_lines(path, wanted, services.ending)


def _one(services: Services, name: str) -> JobStatus:
    database = services.store.database
    return _told(services, jobs.get(database, name), jobs.runs(database, name))


def _told(services: Services, job: Job, runs: list[Run]) -> JobStatus:
    state = runs[0].state if runs else "cancelled" if job.cancelled else "scheduled"
    return JobStatus(
        name=job.name,
        state=state,
        job=msgspec.json.decode(job.spec, type=Submission),
        created=job.created,
        actor=job.actor,
        next=job.next,
        cancelled=job.cancelled,
        runs=tuple(_run(services, run) for run in runs),
    )


def _run(services: Services, run: Run) -> RunStatus:
    folder = Folder.of(services.home, run.id)
    result = folder.result() if run.state in jobs.OVER else None
    return RunStatus(**msgspec.structs.asdict(run), progress=folder.progress(), report=result.report if result else "")


ROUTES = (
    Route(method="GET", path="/v1/jobs", handler=every, summary="Batch jobs", answer=list[JobStatus]),
    Route(
        method="POST",
        path="/v1/jobs",
        handler=submit,
        summary="Submit a batch job",
        body=Submitted,
        answer=JobStatus,
        status=201,
        most=1024 * 1024,
    ),
    Route(method="GET", path="/v1/jobs/{name}", handler=one, summary="A batch job", answer=JobStatus),
    Route(
        method="POST", path="/v1/jobs/{name}/cancel", handler=cancel, summary="Cancel a job", body=Why, answer=JobStatus
    ),
    Route(method="GET", path="/v1/jobs/{name}/logs", handler=logs, summary="The log of a run", query=WhichLog),
)
