"""`python -m prove.batchspeed`: batch beside the bare engine and beside Ray Data, on the same rows and cores.

- loop: a process for each core calls the engine again and again on rows that lie in memory, in its best batch size.
- argosy: `argosy.batch` from files to files. `steady` leaves out planning, starting and loading, `whole` nothing.
- ray: Ray Data's read_parquet → map_batches with an actor for each core → write_parquet, the cluster started before.

Run it alone on the machine: everything is measured in wall time. `--quick` is a short version.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from argosy.batch.progress import Silent, View
from argosy.client.batch import run
from argosy.client.local import locate
from argosy.packaging.options import PushOptions
from argosy.spec.batch import cores
from bench import engineloop, envs, models
from prove.document import put

DOCUMENT = Path("docs/batch.md")
BEGIN, END = "<!-- batchspeed -->", "<!-- /batchspeed -->"
GOAL = 0.90
SIZES = {"digits": (256, 1024, 4096, 16384), "minilm": (8, 16, 32, 64)}
SECONDS = 5.0

Tensors = dict[str, np.ndarray]


class Course(Silent):
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


def table(row: Tensors, rows: int) -> pa.Table:
    """So many rows, each input a list of fixed length."""
    columns = {}
    for name, array in row.items():
        values = np.broadcast_to(array.reshape(-1), (rows, array.size)).reshape(-1)
        columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(values), array.size)
    return pa.table(columns | {"id": np.arange(rows)})


def written(data: pa.Table, folder: Path, kind: str, files: int = 4) -> Path:
    """The rows as files of a kind."""
    folder.mkdir()
    step = -(-data.num_rows // files)
    for place in range(files):
        piece = data.slice(place * step, step)
        if kind == "parquet":
            pq.write_table(piece, folder / f"{place}.parquet", row_group_size=65_536)
        else:
            with pa.OSFile(str(folder / f"{place}.arrow"), "wb") as out, pa.ipc.new_file(out, piece.schema) as file:
                file.write_table(piece, max_chunksize=16_384)
    return folder


def argosy(package: Path, source: Path, out: Path, kind: str, size: int, rows: int) -> tuple[float, float]:
    """Rows a second, (steady, whole)."""
    course, begun = Course(), time.perf_counter()
    given = {
        "model": str(package),
        "inputs": [str(source)],
        "output": str(out),
        "format": kind,
        "keep": ["id"],
        "batch_size": size,
        "workers": cores(),
        "threads": 1,
        "fragment_rows": max(size, rows // 64),
        "checkpoint": 0.2,
    }
    result = run(given, resume=False, display=course)
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


def case(name: str, path: Path, row: Tensors, rows: int, seconds: float, work: Path) -> list[str]:
    """The lines of the table for one model; prints as it goes."""
    sample = work / f"{name}.npz"
    np.savez(sample, **{key: np.repeat(array, 32, axis=0) for key, array in row.items()})
    located = locate(path, PushOptions(sample=sample))
    data, lines = table(row, rows), []
    bare, size = loop(name, path, row, seconds)
    for kind in ("arrow", "parquet"):
        source = written(data, work / f"{name}-{kind}", kind)
        steady, whole = argosy(located.folder, source, work / "out", kind, size, rows)
        peer = ray(path, source, work / "ray", size, rows) if kind == "parquet" else None
        share = f"{steady / bare:.3f}"
        cells = [name, kind, f"{rows:,}", f"{size}", f"{bare:,.0f}", f"{steady:,.0f}", f"**{share}**", f"{whole:,.0f}"]
        lines.append(f"| {' | '.join([*cells, f'{peer:,.0f}' if peer else ''])} |")
        print(lines[-1], flush=True)
        shutil.rmtree(source)
    located.release()
    return lines


def main() -> int:
    """Run all cases, write the table into the docs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--loop", nargs=3)
    parser.add_argument("--ray", nargs=4)
    options = parser.parse_args()
    if options.loop or options.ray:
        loop_process(*options.loop) if options.loop else ray_process(*options.ray)
        return 0
    head = [
        "model",
        "files",
        "rows",
        "rows a call",
        "loop, rows/s",
        "argosy, rows/s",
        "share",
        "whole",
        "Ray Data, rows/s",
    ]
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    print("\n".join(lines), flush=True)
    part = 8 if options.quick else 1
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        small = models.digits(work)
        lines += case("digits", small.path, small.row, 8_000_000 // part, SECONDS / part, work)
        large = models.minilm(envs.site("models"))
        lines += case("minilm", large.path, large.row, 2_000 // part, SECONDS / part, work)
    if not options.quick:
        put(DOCUMENT, BEGIN, END, "\n".join(lines))
    shares = [float(line.split("**")[1]) for line in lines if "**" in line]
    return 0 if min(shares) >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
