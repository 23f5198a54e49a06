"""Which workers have hung: decided by when they last sent a message, without a clock or a process."""

from collections.abc import Mapping, Set

import msgspec

from argosy.spec.batch import PATIENCE

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
    """The workers that have hung, with their seconds of silence: `patience` or more of them (0: any number is allowed).

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
