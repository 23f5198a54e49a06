"""`python -m prove.batchmemory`: the memory of a batch job over inputs of 1 GB and of 10 GB.

A job of two workers answers a file of each size and splittable format with the digits network. While it runs, the
resident memory of its driver and workers, added up, is looked at twenty times a second. The peaks of the two sizes must
be within 10 % of each other. It needs 12 GB of disk in the folder that --work names, and deletes what it has written.
`--quick` takes a tenth of everything.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
from pyarrow import csv, ipc, parquet

from bench import models
from prove.document import put

DOCUMENT = Path("docs/guides/batch.md")
BEGIN, END = "<!-- batchmemory -->", "<!-- /batchmemory -->"
SIZES = (1_000_000_000, 10_000_000_000)
WITHIN = 0.10
BLOCK = 131_072
"""Rows that are made once and written again and again."""
FORMATS = ("parquet", "arrow", "csv", "jsonl")


def block() -> pa.Table:
    """Rows of 64 numbers as scikit-learn's digits have them, with an id."""
    x = np.random.default_rng(0).uniform(0, 16, (BLOCK, 64)).astype("<f4")
    lists = pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), 64)
    return pa.table({"id": pa.array(range(BLOCK), pa.int64()), "X": lists})


def wide(table: pa.Table) -> pa.Table:
    """A column for each number, rounded as people write them."""
    x = table["X"].combine_chunks().flatten().to_numpy().reshape(-1, 64).round(2)
    return pa.table({"id": table["id"]} | {f"p{n}": x[:, n] for n in range(64)})


def write_parquet(path: Path, size: int) -> None:
    """About `size` bytes of Parquet."""
    table = block()
    with parquet.ParquetWriter(path, table.schema, compression="none", use_dictionary=False) as writer:
        for _ in range(max(1, size // table.nbytes)):
            writer.write_table(table)


def write_arrow(path: Path, size: int) -> None:
    """About `size` bytes of Arrow IPC."""
    table = block()
    with ipc.new_file(path, table.schema) as writer:
        for _ in range(max(1, size // table.nbytes)):
            writer.write_table(table)


def write_text(path: Path, size: int) -> None:
    """About `size` bytes of CSV or JSON lines."""
    head = b""
    if path.suffix == ".csv":
        data = pa.BufferOutputStream()
        csv.write_csv(wide(block().slice(0, 8192)), data)
        head, _, text = data.getvalue().to_pybytes().partition(b"\n")
        head += b"\n"
    else:
        import msgspec

        text = msgspec.json.Encoder().encode_lines(block().slice(0, 8192).to_pylist())
    with path.open("wb") as file:
        file.write(head)
        while file.tell() < size:
            file.write(text)


WRITERS: dict[str, Callable[[Path, int], None]] = {
    "parquet": write_parquet,
    "arrow": write_arrow,
    "csv": write_text,
    "jsonl": write_text,
}


def resident(process: psutil.Process) -> int:
    """Bytes of a process and all below it."""
    total = 0
    for one in (process, *process.children(recursive=True)):
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def watched(command: list[str], environment: dict[str, str]) -> tuple[int, float]:
    """The most that a command and its children had at once, and its seconds."""
    begun, peak = time.monotonic(), 0
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        seen = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                peak = max(peak, resident(seen))
            except psutil.NoSuchProcess:
                break
            time.sleep(0.05)
    if process.wait():
        raise SystemExit(f"the job ended with {process.returncode}")
    return peak, time.monotonic() - begun


def measured(format: str, sizes: tuple[int, ...], work: Path) -> Iterator[tuple[int, int, float]]:
    """For each size: bytes of the file, peak, seconds."""
    model = models.digits(work).path
    for size in sizes:
        data, output = work / f"in.{format}", work / "out"
        WRITERS[format](data, size)
        command = [sys.executable, "-m", "argosy", "batch", "run", str(model), "--input", str(data)]
        command += ["--output", str(output), "--keep", "id", "--workers", "2", "--threads", "1", "--batch-size", "4096"]
        environment = os.environ | {"ARGOSY_HOME": str(work / "home")}
        peak, seconds = watched(command, environment)
        yield data.stat().st_size, peak, seconds
        data.unlink()
        shutil.rmtree(output)


def main() -> int:
    """Measure every format, write the table into the docs; 1 where a peak grows with the input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--work", default=tempfile.gettempdir())
    parser.add_argument("--format", choices=FORMATS, action="append")
    options = parser.parse_args()
    sizes = tuple(size // 10 for size in SIZES) if options.quick else SIZES
    lines = ["| files | input, GB | peak of all processes, MB | larger by | s |", "| --- | --- | --- | --- | --- |"]
    print("\n".join(lines), flush=True)
    worst = 0.0
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        for format in options.format or FORMATS:
            first = 0
            for size, peak, seconds in measured(format, sizes, Path(folder)):
                first = first or peak
                grown = peak / first - 1
                worst = max(worst, abs(grown))
                cells = [format, f"{size / 1e9:.1f}", f"{peak / 1e6:,.0f}", f"{grown:+.1%}", f"{seconds:.0f}"]
                lines.append(f"| {' | '.join(cells)} |")
                print(lines[-1], flush=True)
    if not options.quick and not options.format:
        put(DOCUMENT, BEGIN, END, "\n".join(lines))
    return 0 if worst <= WITHIN else 1


if __name__ == "__main__":
    sys.exit(main())
