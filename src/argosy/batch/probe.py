"""A short probe before a job begins, in a process of its own, as workers are.

It answers the first rows of the input in calls of growing size, with one thread and with all, each for a fraction of a
second.
"""

import logging
import os
import time
from collections.abc import Mapping
from typing import cast

import numpy as np
import psutil

from argosy.batch import columns
from argosy.batch.idle import follow
from argosy.batch.plan import Plan
from argosy.batch.sizes import Measured, Probed, Sizes, choose
from argosy.batch.source import source
from argosy.batch.wire import Begin
from argosy.engines.base import Engine, rows_of
from argosy.packaging.model_process import ModelProcess, load_in_process
from argosy.process.child import Child
from argosy.process.cores import cores
from argosy.spec.errors import ArgosyError
from argosy.spec.tensor import Array

LOG = logging.getLogger(__name__)

SIZES = (8, 64, 256, 1024, 4096, 16384)
SECONDS = 0.25
"""For one size; a call that takes longer ends the row of sizes."""
ROWS = 1024
"""Of the input, which are answered again and again."""
PATIENCE = 120.0
SMALL = 5_000
"""Rows of a job that is done sooner than a probe pays."""


def sizes(plan: Plan, begin: Begin) -> Sizes:
    """The sizes for a job: those it says; for what it leaves open, what a probe finds. Where none can be made, or the
    job is too small for one, the usual ones; a probe that fails is logged with its reason."""
    job, total = plan.job, sum(fragment.rows or SMALL for fragment in plan.fragments())
    if (job.workers and job.threads and job.batch_size) or total < SMALL:
        return begin.sizes
    try:
        with Child("the probe", timeout=PATIENCE) as child:
            found = child.run("argosy.batch.probe:probe", begin, Probed)
    except ArgosyError as error:
        LOG.warning("the sizes of %s are the usual ones, since its probe failed: %s", begin.package, error.message)
        return begin.sizes
    return choose(job, found, cores())


def measure(engine: Engine, feeds: Mapping[str, Array], threads: int, wanted: tuple[int, ...]) -> list[Measured]:
    """Rows a second for each size, growing until a call takes too long."""
    rows = rows_of(feeds)
    found: list[Measured] = []
    for size in wanted:
        repeats = -(-size // rows)
        batch = {name: np.concatenate([array] * repeats)[:size] for name, array in feeds.items()}
        engine.predict(batch)
        calls, begun = 0, time.perf_counter()
        while (taken := time.perf_counter() - begun) < SECONDS:
            engine.predict(batch)
            calls += 1
        found.append(Measured(threads, size, calls * size / taken))
        if taken / calls > SECONDS:
            break
    return found


def probe(begin: Begin) -> Probed:
    """Load the model once for each number of threads, and measure: on the golden examples where the first rows of the
    input are not all answered."""
    follow()
    plan, job = begin.plan(), begin.job
    package = begin.open(plan)
    environ = job.given(os.environ)
    found: list[Measured] = []
    free, memory = psutil.virtual_memory().available, 0
    wanted = (job.batch_size,) if job.batch_size else SIZES
    first = plan.fragments()[0]
    reader = source(first.file.format)
    for threads in [job.threads] if job.threads else sorted({1, cores()}):
        model = load_in_process(package, threads=threads, environ=environ, network=job.network, lock=begin.lock)
        try:
            mapping = columns.plan(model.engine.signature, reader.schema(first.file), job)
            rows = mapping.feeds(next(iter(reader.read(first, 0, ROWS, mapping.reads))))
            found += measure(model.engine, rows, threads, wanted)
        except (ArgosyError, StopIteration):
            golden = {tensor.name: tensor.array for tensor in package.golden_inputs()}
            found += measure(model.engine, golden, threads, wanted)
        memory = psutil.Process().memory_info().rss + cast("ModelProcess", model.engine).memory
        model.close()
    return Probed(tuple(found), memory, free)
