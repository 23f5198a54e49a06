"""How many processes, with how many threads each, and how many rows a call: chosen from what a probe measured. Pure."""

import math

import msgspec

from argosy.spec.batch import BatchJob

BATCH = 8
"""Rows a call where nothing was measured: a model may take seconds for more, and one that is fast has done a job too
small to be measured in a second even so."""

NEAR = 0.97
"""A size this near to the best is as good: the smaller one needs less memory and loses less to a kill."""

CALL = 0.0001
"""Seconds that a call costs beside the engine's own: its rows are cut off, mapped, counted and passed on."""

SHARED = 0.9
"""What a process keeps of its speed beside others on the same machine: caches and memory are shared."""

SPARE = 0.7
"""The share of the free memory that workers may take."""


class Sizes(msgspec.Struct, frozen=True):
    """Processes, threads of each one's engine, rows a call."""

    workers: int
    threads: int
    batch_size: int


class Measured(msgspec.Struct, frozen=True):
    """One engine with so many `threads` answered so many rows a second, in calls of `batch_size`."""

    threads: int
    batch_size: int
    rate: float

    @property
    def promised(self) -> float:
        """Rows a second of a worker."""
        return self.batch_size / (self.batch_size / self.rate + CALL)


class Probed(msgspec.Struct, frozen=True):
    """What a probe found. `memory` is what its process took at its largest, `free` what there was, in bytes."""

    measured: tuple[Measured, ...]
    memory: int
    free: int


def usual(job: BatchJob, cores: int) -> Sizes:
    """What the job says, and for what it leaves open a process with one thread for each core."""
    return Sizes(job.workers or max(1, cores // max(1, job.threads)), job.threads or 1, job.batch_size or BATCH)


def choose(job: BatchJob, probed: Probed, cores: int) -> Sizes:
    """The sizes that promise most rows a second, within what the job says and the memory has."""
    best: tuple[float, Sizes] = (-1.0, usual(job, cores))
    fitting = max(1, math.floor(SPARE * probed.free / max(probed.memory, 1)))
    for threads in sorted({each.threads for each in probed.measured}):
        found = [each for each in probed.measured if each.threads == threads]
        near = NEAR * max(each.promised for each in found)
        one = min((each for each in found if each.promised >= near), key=lambda each: each.batch_size)
        workers = job.workers or max(1, min(cores // threads, fitting))
        promised = one.promised * (1 + (workers - 1) * SHARED)
        if promised > best[0]:
            best = (promised, Sizes(workers, threads, one.batch_size))
    return best[1]
