"""Small models and files for tests of batch, and a job's output read back."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from argosy.batch.ledger import Entry, Ledger
from argosy.batch.place import place
from argosy.batch.plan import Model, Plan, prepare
from argosy.batch.work import Attempt, FragmentRunner, OnProgress
from argosy.packaging.package import open_package
from argosy.spec.batch import BatchJob
from argosy.spec.settings import Home, Settings
from argosy.store import open_store
from tests.platform import packages

DIGEST = "sha256:" + "0" * 64

CLASS = """
import os, signal, time
from argosy.spec.errors import InvalidArgument

class Model:
    def predict(self, inputs):
        x = inputs["x"]
        if (x[:, 0] < 0).any():
            raise InvalidArgument("x is below 0")
        if (x[:, 1] == 9).any():
            raise ValueError("a nine")
        if (x[:, 1] == 7).any():
            os.kill(os.getpid(), signal.SIGSEGV)
        while (x[:, 1] == 8).any():
            time.sleep(60)
        if "SLOW" in os.environ:
            time.sleep(float(os.environ["SLOW"]))
        return {"label": x[:, 0].astype("i8") * 3 + 1}
"""
"""Refuses rows below 0, fails at a nine, hangs at an eight, and dies at a seven."""


def home(folder: Path) -> Home:
    """A home with `times:1` (y = 2 x, four numbers) and `picky:1` (see CLASS)."""
    found = Home(folder).create()
    store = open_store(found, Settings())
    packages.push(store, folder / "packages-made" / "times", 2.0, name="times")
    golden = np.array([[1, 0], [2, 0]], np.float32)
    packages.push_class(store, folder / "packages-made" / "picky", CLASS, golden, np.array([4, 7]), name="picky")
    store.close()
    return found


def package(found: Home, name: str) -> Path:
    """The folder of one of them."""
    return found.root / "packages-made" / name


def table(ids: Any, second: Any = 0, width: int = 2) -> pa.Table:
    """`id`, and `x` whose first number is the id."""
    x = np.zeros((len(ids), width), np.float32)
    x[:, 0], x[:, 1] = ids, second
    return pa.table({"id": np.asarray(ids, np.int64), "x": pa.FixedSizeListArray.from_arrays(x.reshape(-1), width)})


def write(folder: Path, *tables: pa.Table, group: int = 64) -> Path:
    """A folder of Parquet files 0.parquet, 1.parquet, …"""
    folder.mkdir(parents=True, exist_ok=True)
    for number, one in enumerate(tables):
        pq.write_table(one, folder / f"{number}.parquet", row_group_size=group)
    return folder


def planned(package_folder: Path, data: Path, output: Path, **settings: Any) -> Plan:
    """The plan of a job, not begun."""
    job = BatchJob(model="m", inputs=(str(data),), output=str(output), **({"keep": ("id",)} | settings))
    return prepare(job, Model(digest=DIGEST, name="m"), open_package(package_folder).manifest.signature)


def run(runner: FragmentRunner, number: int, progress: OnProgress, stopping: Callable[[], bool]) -> Entry | None:
    """Do the fragment of this number to its entry; None if it was stopped before."""
    found = runner.answer(number, progress, stopping)
    return found.entry() if isinstance(found, Attempt) else found


def entries(output: Path) -> list[Entry]:
    """What the ledger holds, in the order of the plan."""
    return sorted(Ledger(place(str(output))).entries().values(), key=lambda entry: entry.number)


def ids(output: Path) -> list[int]:
    """The column `id` of all parts, in the order of the plan."""
    parts = [part for entry in entries(output) for part in entry.parts]
    return [value for part in parts for value in pq.read_table(output / part.name)["id"].to_pylist()]


def parts(output: Path) -> dict[str, bytes]:
    """The files that a reader of the output sees."""
    found = [path for path in output.rglob("*") if path.is_file() and "_argosy" not in path.parts]
    return {str(path.relative_to(output)): path.read_bytes() for path in found if ".argosy-tmp" not in path.parts}


def start(*arguments: object, **environment: str) -> "subprocess.Popen[str]":
    """`argosy batch run …` as a process of its own. SLOW is for the model."""
    if "SLOW" in environment:
        arguments = (*arguments, "--env", f"SLOW={environment['SLOW']}")
    command = [sys.executable, "-m", "argosy", "batch", "run", *(str(one) for one in arguments)]
    return subprocess.Popen(
        command, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
