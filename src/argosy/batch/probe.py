"""A short probe before a job begins: `python -m argosy.batch.probe`, in a process of its own, as workers are.

It answers the first rows of the input in calls of growing size, with one thread and with all, each for a fraction of a
second, and prints what it measured as JSON.
"""

import argparse
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import msgspec
import numpy as np
import psutil

from argosy.batch import columns
from argosy.batch.idle import follow
from argosy.batch.ledger import Ledger
from argosy.batch.place import place
from argosy.batch.plan import Plan
from argosy.batch.sizes import Measured, Probed, Sizes, choose, usual
from argosy.batch.source import source
from argosy.engines.base import Engine
from argosy.packaging.model_process import ModelProcess, load_in_process
from argosy.packaging.package import Package, open_package
from argosy.process import launch
from argosy.process.cores import cores
from argosy.process.tail import last_words
from argosy.spec import crash
from argosy.spec.batch import BatchJob
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


def sizes(plan: Plan, package: Path, more: Sequence[str] = ()) -> Sizes:
    """The sizes for a job: those it says; for what it leaves open, what a probe finds. Where none can be made, or the
    job is too small for one, the usual ones; a probe that fails is logged with its reason. `more` are further arguments
    of the probe."""
    job, total = plan.job, sum(fragment.rows or SMALL for fragment in plan.fragments())
    if (job.workers and job.threads and job.batch_size) or total < SMALL:
        return usual(job, cores())
    told = ["--output", job.output, "--package", str(package.absolute())]
    told += ["--threads", str(job.threads), "--batch-size", str(job.batch_size), *more]
    child = launch.ours("argosy.batch.probe", *told, folder=Path.cwd())
    with tempfile.TemporaryDirectory(prefix="argosy-probe-") as folder:
        log = Path(folder) / "log"
        try:
            return choose(job, _ask(child, log), cores())
        except subprocess.TimeoutExpired:
            why = f"it took longer than {PATIENCE:g} s"
        except subprocess.CalledProcessError as error:
            code = error.returncode
            why = f"it was ended by {signal.Signals(-code).name}" if code < 0 else f"it ended with status {code}"
        except msgspec.MsgspecError as error:
            why = f"it answered nonsense: {error}"
        said = last_words(log)
    LOG.warning(
        "the sizes of %s are the usual ones, since its probe failed: %s%s%s", package, why, "; " * bool(said), said
    )
    return usual(job, cores())


def _ask(child: launch.Child, log: Path) -> Probed:
    """Run a probe, and what it found. Raises SubprocessError, MsgspecError."""
    with log.open("wb") as output:
        found = subprocess.run(
            child.command,
            env=child.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=output,
            timeout=PATIENCE,
            check=True,
        )
    return msgspec.json.decode(found.stdout, type=Probed)


def measure(engine: Engine, feeds: Mapping[str, Array], threads: int, wanted: tuple[int, ...]) -> list[Measured]:
    """Rows a second for each size, growing until a call takes too long."""
    rows = len(next(iter(feeds.values())))
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


def feeds(plan: Plan, engine: Engine) -> Mapping[str, Array]:
    """The first rows of the input. Raises InvalidArgument for one that does not fit the signature."""
    first = plan.fragments()[0]
    reader = source(first.file.format)
    mapping = columns.plan(engine.signature, reader.schema(first.file), plan.job)
    return mapping.feeds(next(iter(reader.read(first, 0, ROWS, mapping.reads))))


def probe(plan: Plan, package: Package, job: BatchJob) -> Probed:
    """Load the model once for each number of threads, and measure: on the golden examples where the first rows of the
    input are not all answered."""
    found: list[Measured] = []
    free, memory = psutil.virtual_memory().available, 0
    wanted = (job.batch_size,) if job.batch_size else SIZES
    for threads in [job.threads] if job.threads else sorted({1, cores()}):
        model = load_in_process(package, threads=threads, environ=job.given(os.environ), network=job.network)
        try:
            found += measure(model.engine, feeds(plan, model.engine), threads, wanted)
        except (ArgosyError, StopIteration):
            golden = {tensor.name: tensor.array for tensor in package.golden_inputs()}
            found += measure(model.engine, golden, threads, wanted)
        memory = psutil.Process().memory_info().rss + cast("ModelProcess", model.engine).memory
        model.close()
    return Probed(tuple(found), memory, free)


def main() -> None:
    """Measure, and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", required=True)
    parser.add_argument("--package", type=Path, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--trusted", action="store_true")
    options = parser.parse_args()
    follow()
    crash.tell()
    plan = Ledger(place(options.output)).plan()
    if plan is None:
        sys.exit(f"no job was begun in {options.output}")
    job = msgspec.structs.replace(plan.job, threads=options.threads, batch_size=options.batch_size)
    out = os.dup(1)
    os.dup2(2, 1)
    os.write(out, msgspec.json.encode(probe(plan, open_package(options.package, trusted=options.trusted), job)))


if __name__ == "__main__":
    main()
