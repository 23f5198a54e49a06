"""`python -m prove.batchspeed`: batch beside the bare engine, a bare script and Ray Data, on the same rows and cores.

- loop: a process for each core calls the engine again and again on the same rows, which never leave the processor's
  cache, in its best batch size. Nothing is read and nothing written.
- script: the least that reads the files, calls the engine and writes files of the same kind, a process for each core
  and as many files for each: no ledger, no digests, nothing durable, nothing that could be resumed.
- argosy: `argosy.batch` from files to files. `steady` leaves out planning, starting and loading, `whole` nothing.
- ray: Ray Data's read_parquet → map_batches with an actor for each core → write_parquet, the cluster started before.

Run it alone on the machine: everything is measured in wall time. The files lie in memory (/dev/shm), as a disk would be
slower than all of them. `--quick` is a short version.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.datasets import load_digits

from argosy.batch.progress import View
from argosy.client.batch import run
from argosy.client.local import locate
from argosy.packaging.options import PushOptions
from argosy.process.cores import cores
from bench import engineloop, envs, models
from prove.document import put

DOCUMENT = Path("docs/guides/batch.md")
BEGIN, END = "<!-- batchspeed -->", "<!-- /batchspeed -->"
MEMORY = Path("/dev/shm")
GOAL = 0.90
SIZES = {"digits": (256, 1024, 4096, 16384), "minilm": (8, 16, 32, 64)}
SECONDS = 5.0

FILES = 4

Tensors = dict[str, np.ndarray]


class Course:
    """Remembers when how many rows were done."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, int]] = []

    def show(self, view: View) -> None:
        """Note it."""
        if view.rows and (not self.seen or view.rows > self.seen[-1][1]):
            self.seen.append((time.perf_counter(), view.rows))

    def rate(self) -> float:
        """Rows a second from the first that were seen to the last."""
        (begun, before), (ended, after) = self.seen[0], self.seen[-1]
        return (after - before) / (ended - begun)


def loop(name: str, path: Path, row: Tensors, seconds: float) -> tuple[float, int]:
    """(rows a second of all cores together, the best size), each size tried by as many processes as there are cores."""
    best = (0.0, 0)
    for size in SIZES[name]:
        command = [sys.executable, "-m", "prove.batchspeed", "--loop", str(path), str(seconds), str(size)]
        environment = os.environ | {"LOOP_ROW": json.dumps({key: [a.dtype.str, a.tolist()] for key, a in row.items()})}
        running = [subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) for _ in range(cores())]
        rate = sum(float(each.communicate()[0]) for each in running)
        best = max(best, (rate, size))
    return best


def loop_process(path: str, seconds: str, size: str) -> None:
    """One process of `loop`."""
    row = {key: np.array(value, kind) for key, (kind, value) in json.loads(os.environ["LOOP_ROW"]).items()}
    print(engineloop.rows_per_second(models.session(Path(path)), row, int(size), float(seconds)))


def table(samples: Tensors, rows: int) -> pa.Table:
    """So many rows, the samples again and again, each input a list of fixed length."""
    columns = {}
    for name, array in samples.items():
        values = np.resize(array.reshape(len(array), -1), (rows, array[0].size))
        columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
    return pa.table(columns | {"id": np.arange(rows)})


def written(data: pa.Table, folder: Path, kind: str, times: int) -> Path:
    """The rows as files of a kind, each of them there under several names."""
    folder.mkdir()
    step = -(-data.num_rows // FILES)
    for place in range(FILES):
        piece, path = data.slice(place * step, step), folder / f"{place}-0.{kind}"
        if kind == "parquet":
            pq.write_table(piece, path, row_group_size=65_536)
        else:
            with pa.OSFile(str(path), "wb") as out, pa.ipc.new_file(out, piece.schema) as file:
                file.write_table(piece, max_chunksize=16_384)
        for other in range(1, times):
            (folder / f"{place}-{other}.{kind}").hardlink_to(path)
    return folder


def script(path: Path, source: Path, out: Path, size: int, rows: int) -> float:
    """Rows a second of all processes of the bare script together."""
    out.mkdir()
    command = [sys.executable, "-m", "prove.batchspeed", "--script", str(path), str(source), str(out), str(size)]
    running = [subprocess.Popen([*command, str(core)], stdout=subprocess.PIPE, text=True) for core in range(cores())]
    seconds = max(float(each.communicate()[0]) for each in running)
    shutil.rmtree(out)
    return rows / seconds


def script_process(path: str, source: str, out: str, size: str, core: str) -> None:
    """One process of `script`; prints its seconds with the engine loaded."""
    session = models.session(Path(path))
    names = [each.name for each in session.get_outputs()]
    given = [each.name for each in session.get_inputs()]
    files = sorted(Path(source).iterdir())[int(core) :: cores()]
    begun = time.perf_counter()
    for file in files:
        writer = None
        for batch in batches(file, int(size)):
            feeds = {name: batch.column(name).flatten().to_numpy().reshape(batch.num_rows, -1) for name in given}
            answers = [column(array) for array in session.run(names, feeds)]
            answer = pa.RecordBatch.from_arrays([batch.column("id"), *answers], ["id", *names])
            if writer is None:
                target = str(Path(out) / f"{core}-{file.name}")
                make = pq.ParquetWriter if file.suffix == ".parquet" else pa.ipc.new_file
                writer = make(target, answer.schema)
            writer.write_batch(answer)
        if writer is not None:
            writer.close()
    print(time.perf_counter() - begun)


def batches(file: Path, size: int) -> Iterator[pa.RecordBatch]:
    """The rows of a file, so many at once."""
    if file.suffix == ".parquet":
        yield from pq.ParquetFile(file).iter_batches(batch_size=size, use_threads=False)
        return
    with pa.memory_map(str(file)) as mapped:
        reader = pa.ipc.open_file(mapped)
        for number in range(reader.num_record_batches):
            batch = reader.get_batch(number)
            yield from (batch.slice(start, size) for start in range(0, batch.num_rows, size))


def column(array: np.ndarray) -> pa.Array:
    """An output as a column, further axes as lists."""
    values = pa.array(array.reshape(-1))
    for size in reversed(array.shape[1:]):
        values = pa.FixedSizeListArray.from_arrays(values, size)
    return values


def argosy(package: Path, source: Path, out: Path, kind: str, rows: int) -> tuple[float, float]:
    """Rows a second, (steady, whole). The size of a call is what the probe finds."""
    course, begun = Course(), time.perf_counter()
    given = {
        "model": str(package),
        "inputs": [str(source)],
        "output": str(out),
        "format": kind,
        "keep": ["id"],
        "workers": cores(),
        "threads": 1,
        "fragment_rows": min(262_144, rows // 16),
    }
    result = run(given, resume=False, display=nullcontext(course.show))
    whole = time.perf_counter() - begun
    assert result.out == rows
    shutil.rmtree(out)
    return course.rate(), rows / whole


def ray(path: Path, source: Path, out: Path, size: int, rows: int) -> float:
    """Rows a second of Ray Data over the same files, in a process of its own."""
    command = [sys.executable, "-m", "prove.batchspeed", "--ray", str(path), str(source), str(out), str(size)]
    found = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    assert pq.ParquetDataset(out).read(columns=["id"]).num_rows == rows
    shutil.rmtree(out)
    return rows / float(found.stdout.split()[-1])


class Session:
    """The engine as an actor of Ray Data."""

    def __init__(self, path: str) -> None:
        self.session = models.session(Path(path))
        self.kinds = {each.name: each.type for each in self.session.get_inputs()}
        self.names = [each.name for each in self.session.get_outputs()]

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        feeds = {name: np.stack(batch[name]) if batch[name].dtype == object else batch[name] for name in self.kinds}
        answers = self.session.run(None, feeds)
        return {"id": batch["id"], **dict(zip(self.names, answers, strict=True))}


def ray_process(path: str, source: str, out: str, size: str) -> None:
    """Prints the seconds from reading to written files, with the cluster and its libraries there."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    ray.init(num_cpus=2 * cores(), include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    begun = time.perf_counter()
    data = ray.data.read_parquet(source, override_num_blocks=16)
    answers = data.map_batches(
        Session, fn_constructor_args=(path,), batch_size=int(size), concurrency=cores(), num_cpus=1
    )
    answers.write_parquet(out)
    print(time.perf_counter() - begun)


class Case(NamedTuple):
    """A model, the rows it is asked (`row` in the loop, `samples` in files), how many of them are written, and under
    how many names each file of a kind is there."""

    name: str
    path: Path
    row: Tensors
    samples: Tensors
    rows: int
    times: dict[str, int]


def case(given: Case, seconds: float, work: Path) -> list[str]:
    """The lines of the table for one model; prints as it goes."""
    name, path = given.name, given.path
    sample = work / f"{name}.npz"
    np.savez(sample, **{key: np.resize(array, (64, *array.shape[1:])) for key, array in given.samples.items()})
    located = locate(path, PushOptions(sample=sample))
    data, lines = table(given.samples, given.rows), []
    bare, size = loop(name, path, given.row, seconds)
    for kind, times in given.times.items():
        source, rows = written(data, work / f"{name}-{kind}", kind, times), given.rows * times
        least = script(path, source, work / "script", size, rows)
        steady, whole = argosy(located.folder, source, work / "out", kind, rows)
        peer = None
        if kind == "parquet":
            few = written(data, work / f"{name}-few", kind, 1)
            peer = ray(path, few, work / "ray", size, given.rows)
            shutil.rmtree(few)
        cells = [name, kind, f"{rows:,}", f"{size}", f"{bare:,.0f}", f"{least:,.0f}", f"{steady:,.0f}"]
        cells += [f"**{steady / bare:.3f}**", f"{steady / least:.3f}", f"{whole:,.0f}", f"{peer:,.0f}" if peer else ""]
        lines.append(f"| {' | '.join(cells)} |")
        print(lines[-1], flush=True)
        shutil.rmtree(source)
    located.release()
    return lines


def main() -> int:
    """Run all cases, write the table into the docs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--loop", nargs=3)
    parser.add_argument("--script", nargs=5)
    parser.add_argument("--ray", nargs=4)
    options = parser.parse_args()
    for one, process in ((options.loop, loop_process), (options.script, script_process), (options.ray, ray_process)):
        if one:
            process(*one)
            return 0
    head = "model, files, rows, rows a call, loop (rows/s), script, argosy, of the loop, of the script, whole, Ray Data"
    lines = [f"| {' | '.join(head.split(', '))} |", f"|{' --- |' * len(head.split(', '))}"]
    print("\n".join(lines), flush=True)
    part = 8 if options.quick else 1
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        work = Path(folder)
        small, large = models.digits(work), models.minilm(envs.site("models"))
        images = {"X": load_digits().data.astype(np.float32)}
        digits = Case("digits", small.path, small.row, images, 4_000_000 // part, {"arrow": 10, "parquet": 4})
        minilm = Case("minilm", large.path, large.row, large.row, 2_000 // part, {"arrow": 1, "parquet": 1})
        for given in (digits, minilm):
            lines += case(given, SECONDS / part, work)
    if not options.quick:
        put(DOCUMENT, BEGIN, END, "\n".join(lines))
    shares = [float(line.split("**")[1]) for line in lines if "**" in line]
    return 0 if min(shares) >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
