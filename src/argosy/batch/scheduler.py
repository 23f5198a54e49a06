"""The scheduler: which worker answers which fragment, which fragment kills workers, which workers hang. Pure."""

from collections.abc import Mapping, Set

import msgspec
from msgspec.structs import replace

from argosy.spec.batch import PATIENCE

LIVES = 3
"""Workers that may crash at a fragment, one after the other, without getting further."""
KILLED = 10
"""The same for workers that were killed: from outside, or for the memory they took."""


class Assignment(msgspec.Struct, frozen=True):
    """A fragment of a worker, and how many of its rows are safe; -1 before it has begun. Once all rows are `answered`
    only their files are left to write."""

    number: int
    rows: int = -1
    answered: bool = False


class Deaths(msgspec.Struct, frozen=True):
    """Workers died in a row while a fragment stood at `rows`: so many crashed, so many were killed."""

    rows: int
    crashed: int = 0
    killed: int = 0


class Schedule(msgspec.Struct, frozen=True):
    """The fragments that are not done: `todo` in order, of which the first `begun` were assigned; those `returned` by
    workers that died; those `assigned`, by worker.

    A worker has fragments that are answered, and after them one that it answers.
    """

    todo: tuple[int, ...]
    begun: int = 0
    returned: tuple[int, ...] = ()
    assigned: Mapping[int, tuple[Assignment, ...]] = {}
    deaths: Mapping[int, Deaths] = {}

    @property
    def waiting(self) -> int:
        """How many fragments are not assigned."""
        return len(self.returned) + len(self.todo) - self.begun

    @property
    def done(self) -> bool:
        """Whether nothing is left."""
        return not self.waiting and not self.assigned


def free(schedule: Schedule, worker: int) -> bool:
    """Whether a worker can take another fragment: it has none with rows to answer, and none that a worker died at,
    which is done alone."""
    return all(one.answered and one.number not in schedule.deaths for one in schedule.assigned.get(worker, ()))


def assign(schedule: Schedule, worker: int) -> tuple[int | None, Schedule]:
    """The next fragment for a worker that is free: first those that were returned. None: nothing waits."""
    if schedule.returned:
        number, schedule = schedule.returned[0], replace(schedule, returned=schedule.returned[1:])
    elif schedule.begun < len(schedule.todo):
        number, schedule = schedule.todo[schedule.begun], replace(schedule, begun=schedule.begun + 1)
    else:
        return None, schedule
    return number, _with(schedule, worker, (*schedule.assigned.get(worker, ()), Assignment(number)))


def reached(schedule: Schedule, worker: int, number: int, rows: int) -> Schedule:
    """A worker has so many rows of a fragment safe."""
    return _updated(schedule, worker, number, rows=rows)


def answered(schedule: Schedule, worker: int, number: int) -> Schedule:
    """A worker has answered all rows of a fragment."""
    return _updated(schedule, worker, number, answered=True)


def finished(schedule: Schedule, worker: int, number: int) -> Schedule:
    """A worker's fragment has its entry."""
    left = tuple(one for one in schedule.assigned.get(worker, ()) if one.number != number)
    deaths = {one: death for one, death in schedule.deaths.items() if one != number}
    return replace(_with(schedule, worker, left), deaths=deaths)


def lost(
    schedule: Schedule, worker: int, *, killed: bool = False, hung: bool = False
) -> tuple[Assignment | None, Schedule]:
    """Return the fragments of a worker that is gone, `killed` by SIGKILL or else. With the fragment to blame, or None.

    Only deaths at the same row, one after the other, count against a fragment, and a kill counts less than a crash:
    it may have come from outside. A worker that `hung`, and was ended for that, has crashed; if it had begun nothing,
    the beginning of its first fragment is where it hung.
    """
    own = schedule.assigned.get(worker, ())
    returned = (*schedule.returned, *(one.number for one in own))
    schedule = replace(_with(schedule, worker, ()), returned=returned)
    blamed: Assignment | None = None
    begun = tuple(one for one in own if one.rows >= 0)
    for at in begun or (own[:1] if hung else ()):
        before = schedule.deaths.get(at.number)
        if before is None or before.rows != at.rows:
            before = Deaths(at.rows)
        death = Deaths(at.rows, before.crashed + (not killed), before.killed + killed)
        schedule = replace(schedule, deaths={**schedule.deaths, at.number: death})
        if death.crashed >= LIVES or death.crashed + death.killed >= KILLED:
            blamed = at
    return blamed, schedule


def _with(schedule: Schedule, worker: int, own: tuple[Assignment, ...]) -> Schedule:
    others = {one: what for one, what in schedule.assigned.items() if one != worker}
    return replace(schedule, assigned=others | ({worker: own} if own else {}))


def _updated(schedule: Schedule, worker: int, number: int, **change: int) -> Schedule:
    own = schedule.assigned.get(worker, ())
    return _with(schedule, worker, tuple(replace(one, **change) if one.number == number else one for one in own))


LOADING = PATIENCE
"""Seconds that a worker has at least to load its model: the patience of a job is for answering."""
GAP = 10.0
"""Seconds between two checks that count at most: in a longer gap the driver was stopped, or the machine slept."""


class Liveness(msgspec.Struct, frozen=True):
    """When the workers were last checked, and for how many seconds each that is to send something has sent nothing."""

    checked: float | None = None
    silent: Mapping[int, float] = {}


def check(
    before: Liveness,
    now: float,
    patience: float,
    *,
    loading: Set[int] = frozenset(),
    working: Set[int] = frozenset(),
    heard: Set[int] = frozenset(),
) -> tuple[Mapping[int, float], Liveness]:
    """The workers that have hung, with their seconds without a message: `patience` or more of them (0: for ever).

    `now` is in seconds of a monotonic clock. `loading` and `working` are the workers that load their model or have a
    fragment, `heard` those that have sent something since `before`. Silence begins with the first check at which a
    worker loads or works, and anew with each message: it is never taken to be longer than it was.
    """
    passed = 0.0 if before.checked is None else min(now - before.checked, GAP)
    silent = {
        worker: before.silent[worker] + passed if worker in before.silent and worker not in heard else 0.0
        for worker in sorted(loading | working)
    }
    least = max(patience, LOADING)
    hung = {
        worker: seconds
        for worker, seconds in silent.items()
        if patience and seconds >= (least if worker in loading else patience)
    }
    return hung, Liveness(now, silent)
