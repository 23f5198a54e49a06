"""Which workers have hung: what was told and when decides, without a clock or a process."""

from collections.abc import Mapping

import msgspec

from argosy.spec.batch import PATIENCE

LOADING = PATIENCE
"""Seconds that a worker has at least, until its model is loaded: what is said of answering does not bound that."""
GAP = 10.0
"""Seconds between two looks that count at most: in a longer gap the driver was stopped, or the machine slept."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One look, at `now` in seconds of a clock that never goes back: the workers that are still `loading`, those that
    hold work, and those that were `heard` since the look before."""

    now: float
    loading: frozenset[int] = frozenset()
    working: frozenset[int] = frozenset()
    heard: frozenset[int] = frozenset()


class Quiet(msgspec.Struct, frozen=True):
    """When it was last looked, and for how many seconds each worker that has to tell something has told nothing."""

    looked: float | None = None
    silent: Mapping[int, float] = {}


def look(quiet: Quiet, seen: Seen, patience: float) -> tuple[Mapping[int, float], Quiet]:
    """The workers that have hung, with their seconds of silence: `patience` or more of them (0: any number is borne).

    Silence begins with the first look at which a worker holds work or loads, and anew whenever it is heard: nobody is
    taken to be silent for longer than he was.
    """
    passed = 0.0 if quiet.looked is None else min(seen.now - quiet.looked, GAP)
    silent = {
        worker: quiet.silent[worker] + passed if worker in quiet.silent and worker not in seen.heard else 0.0
        for worker in sorted(seen.loading | seen.working)
    }
    hung = {
        worker: seconds
        for worker, seconds in silent.items()
        if patience and seconds >= (loading(patience) if worker in seen.loading else patience)
    }
    return hung, Quiet(seen.now, silent)


def loading(patience: float) -> float:
    """Seconds that a model has to be loaded; 0: any number."""
    return max(patience, LOADING) if patience else 0.0
