"""Jobs with a deadline: on capacity that nobody else wants for as long as that is soon enough, else on their own.

`capacity/deadline.py` decides, by what is seen of a run: its rows, how fast they come, and whether anything was to be
had. It is taken to be as fast on its own as it was while rows came; in idle slots, as if it had those of its engine.
"""

import math
import time
from collections.abc import Callable

import msgspec

from argosy.capacity import deadline
from argosy.capacity.deadline import DeadlineJob, DeadlineObservation, DeadlineState
from argosy.capacity.spot import Zone
from argosy.jobs.folder import Progress
from argosy.jobs.slots import IdleUse
from argosy.spec.batch import Submission
from argosy.store.jobs import Run

TICK = 10.0
"""Seconds between two looks at a run."""
CHANGEOVER = 60.0
"""Seconds that a run takes to end and to begin again elsewhere, before rows come."""
UNKNOWN = 0.25
"""The share of the time after which a run of which nothing is known yet works on its own."""
LEAST = 1.0
"""Seconds of an engine that say how fast it is."""
ROUND = math.log(1.1)
"""Estimates of the work are told apart by this much."""


class _Seen(msgspec.Struct, kw_only=True):
    """What is known of a run: its last look, with the slot-seconds that it had by then; how many rows were `done` while
    it `had` so many seconds of an engine; what was decided."""

    at: float
    rows: int = 0
    seconds: float = 0.0
    done: int = 0
    had: float = 0.0
    state: DeadlineState | None = None
    own: bool = False
    reason: str = "works on what is idle"


class Deadlines:
    """Which runs work on their own. `clock` gives seconds since 1970."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock, self._seen = clock, dict[str, _Seen]()

    def own(self, run: str) -> bool:
        """Whether a run is to work on its own."""
        return run in self._seen and self._seen[run].own

    def reason(self, run: str) -> str:
        """What decided that; empty for a run without a deadline, or that was not looked at yet."""
        return self._seen[run].reason if run in self._seen else ""

    def forget(self, run: str) -> None:
        """It is over."""
        self._seen.pop(run, None)

    def look(self, run: Run, job: Submission, progress: Progress | None, use: IdleUse | None, *, own: bool) -> bool:
        """Whether a run is to change over to its own. One that works on its `own` does to its end: what is idle then
        is not seen. Call it every second."""
        now, elapsed = self._clock(), self._clock() - run.due
        seen = self._seen.setdefault(run.id, _Seen(at=now, own=own, rows=progress.rows if progress else 0))
        if not job.deadline or own or seen.own or now - seen.at < TICK:
            return seen.own and not own
        rows = progress.rows if progress else 0
        grown, seconds = max(0, rows - seen.rows), use.seconds if use else 0.0
        had = max(0.0, seconds - seen.seconds) / job.batch.language.slots if use else (now - seen.at) * (grown > 0)
        seen.done, seen.had = seen.done + grown, seen.had + had
        seen.at, seen.rows, seen.seconds = now, rows, seconds
        rate = seen.done / seen.had if seen.had > LEAST else 0.0
        if progress is None or not progress.total or not rate:
            seen.own = elapsed > UNKNOWN * job.deadline
            seen.reason = f"how much is left is not known after {elapsed:.0f} s"
            return seen.own
        work = math.exp(ROUND * math.ceil(math.log(max(progress.total / rate, 1.0)) / ROUND))
        zone = Zone(name=f"idle slots of {job.batch.idle}" if job.batch.idle else "idle cores", region="", price=0.0)
        wanted = DeadlineJob(
            markets=(zone,), work=work, deadline=job.deadline, changeover=CHANGEOVER, tick=TICK, on_demand=1.0
        )
        up = grown > 0 or (use is not None and use.running > 0)
        at = DeadlineObservation(
            elapsed=elapsed,
            done=work * rows / progress.total,
            running=0 if up else None,
            left=0.0,
            up=(up,),
        )
        decision, seen.state = deadline.decide(wanted, at, seen.state or deadline.begin(wanted))
        seen.own, slack = decision.run == -1, job.deadline - elapsed - work * (1 - rows / progress.total)
        where = "on its own" if seen.own else zone.name if up else f"waits for {zone.name}"
        seen.reason = (
            f"{where}: it is due in {job.deadline - elapsed:.0f} s, {slack:.0f} s more than it takes on its own"
        )
        return seen.own
