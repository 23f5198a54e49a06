"""Which runs start now? (jobs, runs, time) → decisions. Pure.

At most `limit` runs go on at once, the longest due first. A job that comes due while its last run goes on leaves this
time out: two runs of it would write the same place. Moments that passed while no platform ran are made up for once.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from cronsim import CronSim, CronSimError

from argosy.spec.errors import INTERRUPTED, InvalidArgument, StorageFull, Unavailable
from argosy.store.jobs import Job, Run, State

ATTEMPTS = 4
"""Processes that are started for one run, at most."""
FIRST_WAIT = 10.0
"""Seconds before the second attempt; each further one waits three times as long."""
AGAIN = (Unavailable.exit, StorageFull.exit, INTERRUPTED)
"""Exit statuses after which another attempt may go through; so may one after a signal. A machine that shuts down
interrupts a job, perhaps before its controller hears of it."""


class Due(msgspec.Struct, frozen=True):
    """The moment of a schedule has come: `queue` a run or leave it out, and wait for `then`."""

    job: str
    at: float
    then: float
    queue: bool


Decision = Due | Run
"""A run is one to start a process for."""


def plan(
    jobs: Iterable[Job], schedules: dict[str, tuple[str, str]], runs: Sequence[Run], now: float, limit: int
) -> list[Decision]:
    """What to do now. `runs` are those that wait or run; `schedules` are (cron, time zone) by job."""
    busy = {run.job for run in runs}
    decisions: list[Decision] = []
    for job in jobs:
        if job.next is not None and job.cancelled is None and job.next <= now:
            then = following(*schedules[job.name], now)
            decisions.append(Due(job.name, job.next, then, queue=job.name not in busy))
    free = limit - sum(run.state == "running" for run in runs)
    waiting = sorted((run for run in runs if run.state == "queued" and run.after <= now), key=lambda run: run.due)
    return [*decisions, *waiting[: max(0, free)]]


def ended(run: Run, exit: int | None, error: str, now: float, *, cancelled: bool) -> Run:
    """How a run stands once its process is gone. `exit` None or negative: it was killed, or nobody knows how it ended.

    A run that may go through another time waits for its next attempt, which resumes it.
    """
    ended = msgspec.structs.replace(run, exit=exit, error=error[:2000])
    if exit == 0:
        return _over(ended, "succeeded", now)
    if cancelled:
        return _over(ended, "cancelled", now)
    if run.attempts < ATTEMPTS and (exit is None or exit < 0 or exit in AGAIN):
        wait = FIRST_WAIT * 3 ** (run.attempts - 1)
        return msgspec.structs.replace(ended, state="queued", after=now + wait)
    return _over(ended, "failed", now)


def _over(run: Run, state: State, now: float) -> Run:
    return msgspec.structs.replace(run, state=state, ended=now)


def following(cron: str, zone: str, now: float) -> float:
    """The next moment of a schedule after `now`, in seconds since 1970. Raises InvalidArgument.

    An hour that daylight saving leaves out runs right after the gap, one that it doubles runs once.
    """
    try:
        moments = CronSim(cron, datetime.fromtimestamp(now, ZoneInfo(zone)))
        return next(moments).astimezone(UTC).timestamp()
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidArgument(f"'{zone[:80]}' is no time zone; write one like Europe/Berlin or UTC") from None
    except CronSimError as error:
        raise InvalidArgument(
            f"'{cron[:80]}' is no schedule ({error}); write five fields, as in '30 2 * * *' for 2:30 each night"
        ) from None
    except StopIteration:
        raise InvalidArgument(f"the schedule '{cron[:80]}' never comes") from None
