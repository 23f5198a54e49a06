"""`python -m prove.batch --kills 1000`: kill -9 of the workers and the driver of a batch job at random moments.

The model is a Python class that tells, over TCP, how many rows it is asked for and how many it has answered: a witness
that knows nothing of spools and ledgers. Most kills come when it has answered a random number of rows, the others at a
random time after a start, which also hits planning, loading and committing. A killed driver is started again with
--resume. At the end every row must be there once, in the order of its file, and the output must be, byte for byte, that
of a job that nobody killed.
"""

import argparse
import contextlib
import os
import random
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil

from argosy.batch.ledger import Ledger, Seal
from argosy.batch.place import place
from argosy.spec.settings import Home, Settings
from argosy.store import open_store
from tests.platform.packages import push_class

ROWS_A_KILL, FILES, FRAGMENT = 1000, 5, 2000
BATCH = 4
"""Rows a call of the model, each of which is a checkpoint: what one kill may cost."""
LIMIT = 0.005
"""The share of rows that may be answered more than once."""
VICTIMS = {"worker": 0.6, "driver": 0.25, "both": 0.15}
AT_ONCE = 0.15
"""The share of kills that come at a random time after a start instead of in the midst of work."""
NOTE = struct.Struct("<cI")

MODEL = """
import os, socket, struct

class Model:
    def load(self, path):
        port = int(os.environ.get("WITNESS", "0"))
        self.witness = socket.create_connection(("127.0.0.1", port)) if port else None

    def note(self, kind, x):
        if self.witness is not None and (x[:, 1] > 0).all():
            self.witness.sendall(struct.pack("<cI", kind, len(x)))

    def predict(self, inputs):
        x = inputs["x"]
        self.note(b"a", x)
        label = x[:, 0].astype("i8") * 3 + 1
        self.note(b"z", x)
        return {"label": label}
"""


class Witness:
    """Rows that the model was asked for, and rows that it has answered, as it tells them over TCP: the model is in a
    sandbox, where it can write no file that stays."""

    def __init__(self) -> None:
        self.asked = self.answered = 0
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._door.getsockname()[1]
        self._lines: dict[socket.socket, bytes] = {}

    def look(self) -> int:
        """The rows answered until now, however often."""
        while ready := select.select([self._door, *self._lines], [], [], 0)[0]:
            for line in ready:
                if line is self._door:
                    self._lines[self._door.accept()[0]] = b""
                else:
                    self._hear(line)
        return self.answered

    def _hear(self, line: socket.socket) -> None:
        try:
            fresh = line.recv(1024 * 1024)
        except ConnectionError:
            fresh = b""
        if not fresh:
            del self._lines[line]
            line.close()
            return
        data = self._lines[line] + fresh
        whole = len(data) - len(data) % NOTE.size
        for kind, rows in NOTE.iter_unpack(data[:whole]):
            self.asked += rows * (kind == b"a")
            self.answered += rows * (kind == b"z")
        self._lines[line] = data[whole:]

    def close(self) -> None:
        """Hear no more."""
        for line in (self._door, *self._lines):
            line.close()


class Found(msgspec.Struct, kw_only=True):
    """What was there at the end."""

    rows: int
    lost: int
    doubled: int
    wrong: int
    disordered: int
    strays: int
    identical: bool
    answered_again: float
    asked_again: float
    kills: dict[str, int]
    seconds: float

    @property
    def good(self) -> bool:
        """Whether nothing happened that must not."""
        bad = self.lost + self.doubled + self.wrong + self.disordered + self.strays
        return not bad and self.identical and self.answered_again <= LIMIT

    def line(self) -> str:
        """The figures."""
        kinds = ", ".join(f"{count} of {kind}" for kind, count in sorted(self.kills.items()))
        same = "identical to" if self.identical else "NOT the same as"
        return (
            f"{sum(self.kills.values())} kills ({kinds}) over {self.rows} rows in {self.seconds:.0f} s: "
            f"{self.lost} lost, {self.doubled} doubled, {self.wrong} wrong, {self.disordered} files out of order, "
            f"{self.strays} stray files; {same} an undisturbed job; answered more than once: "
            f"{self.answered_again:.4%} of rows, asked more than once: {self.asked_again:.4%} (limit {LIMIT:.1%})"
        )


class Proof:
    """One job under fire, in a folder of its own."""

    def __init__(self, folder: Path, kills: int, seed: int) -> None:
        self.folder, self.kills = folder, kills
        self.rows = kills * ROWS_A_KILL
        self.chance = random.Random(seed)
        self.done: Counter[str] = Counter()
        self.witness = Witness()
        self.environment = os.environ | {"ARGOSY_HOME": str(folder / "home")}
        self.ids: list[np.ndarray[Any, np.dtype[np.int64]]] = []

    def prepare(self, seed: int) -> None:
        """The model, and the files: rows in a random order, so that an order that was kept can be told."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        store = open_store(Home(self.folder / "home").create(), Settings())
        golden = np.array([[1, 0], [2, 0]], np.float32)
        push_class(store, self.folder / "package", MODEL, golden, np.array([4, 7]), name="witness")
        store.close()
        order = np.random.default_rng(seed).permutation(self.rows)
        (self.folder / "data").mkdir()
        for number, ids in enumerate(np.array_split(order, FILES)):
            x = np.stack([ids.astype("f4"), np.ones(len(ids), "f4")], axis=1)
            lists = pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), 2)
            pq.write_table(pa.table({"id": ids, "x": lists}), self.folder / f"data/{number}.parquet")
            self.ids.append(ids)

    def start(self, output: str) -> "subprocess.Popen[bytes]":
        """A driver, the first or one that goes on."""
        command = [sys.executable, "-m", "argosy", "batch", "run", "--output", str(self.folder / output)]
        if Ledger(place(str(self.folder / output))).plan() is None:
            command += ["witness:1", "--input", str(self.folder / "data"), "--keep", "id"]
            command += ["--workers", "2", "--threads", "1", "--network", "--env", f"WITNESS={self.witness.port}"]
            command += ["--fragment-rows", str(FRAGMENT), "--batch-size", str(BATCH), "--checkpoint", "0"]
        log = (self.folder / f"{output}.log").open("ab")
        with log:
            return subprocess.Popen([*command, "--resume"], env=self.environment, stdout=log, stderr=log)

    def undisturbed(self) -> Seal:
        """The job that nobody kills, with large batches."""
        command = [sys.executable, "-m", "argosy", "batch", "run", "witness:1", "--input", str(self.folder / "data")]
        command += ["--keep", "id", "--fragment-rows", str(FRAGMENT), "--output", str(self.folder / "calm")]
        subprocess.run(command, env=self.environment, check=True, capture_output=True)
        seal = Ledger(place(str(self.folder / "calm"))).sealed()
        assert seal is not None
        return seal

    def fire(self) -> None:
        """All kills, and then to the end."""
        points = sorted(self.chance.uniform(0, self.rows * 0.98) for _ in range(self.kills))
        driver = self.start("out")
        for number, point in enumerate(points):
            if self.chance.random() < AT_ONCE:
                time.sleep(self.chance.uniform(0, 1.5))
            else:
                self._await(driver, point)
            driver = self._kill(driver)
            if (number + 1) % 50 == 0:
                print(f"{number + 1}/{self.kills}, {self.witness.look()} rows", file=sys.stderr, flush=True)
        self._await(driver, float("inf"))
        if driver.wait():
            raise RuntimeError(f"the job failed: {(self.folder / 'out.log').read_text()[-2000:]}")

    def _await(self, driver: "subprocess.Popen[bytes]", rows: float) -> None:
        """Until so many rows are answered."""
        while self.witness.look() < rows and driver.poll() is None:
            time.sleep(0.001)

    def _kill(self, driver: "subprocess.Popen[bytes]") -> "subprocess.Popen[bytes]":
        """Kill one of the processes or all; the driver that is there afterwards."""
        kind = self.chance.choices(list(VICTIMS), list(VICTIMS.values()))[0]
        workers = _workers(driver)
        if kind == "worker" and not workers:
            kind = "driver"
        if driver.poll() is not None:
            raise RuntimeError(f"the job ended before it was killed: {(self.folder / 'out.log').read_text()[-2000:]}")
        self.done[kind] += 1
        if kind != "driver":
            for worker in workers if kind == "both" else self.chance.sample(workers, 1):
                _end(worker)
        if kind == "worker":
            return driver
        driver.kill()
        driver.wait()
        return self.start("out")

    def look(self, calm: Seal, seconds: float) -> Found:
        """Read everything, and compare."""
        import pyarrow.parquet as pq

        ledger = Ledger(place(str(self.folder / "out")))
        plan, seal = ledger.plan(), ledger.sealed()
        assert plan is not None
        assert seal is not None
        found: dict[int, list[Any]] = {number: [] for number in range(FILES)}
        entries = sorted(ledger.entries().values(), key=lambda entry: entry.number)
        for entry in entries:
            for part in entry.parts:
                found[plan.pieces[entry.number].file].append(pq.read_table(self.folder / "out" / part.name))
        ids = [np.concatenate([table["id"].to_numpy() for table in tables]) for tables in found.values()]
        labels = np.concatenate([table["label"].to_numpy() for tables in found.values() for table in tables])
        every = np.concatenate(ids)
        counts = np.bincount(every, minlength=self.rows)
        files = {path.name for path in (self.folder / "out").iterdir() if path.is_file()}
        self.witness.look()
        return Found(
            rows=self.rows,
            lost=int((counts == 0).sum()),
            doubled=int((counts > 1).sum()),
            wrong=int((labels != every * 3 + 1).sum()),
            disordered=sum(not np.array_equal(a, b) for a, b in zip(ids, self.ids, strict=True)),
            strays=len(files ^ {part.name for entry in entries for part in entry.parts}),
            identical=seal.digest == calm.digest,
            answered_again=self.witness.answered / self.rows - 1,
            asked_again=self.witness.asked / self.rows - 1,
            kills=dict(self.done),
            seconds=seconds,
        )


def _workers(driver: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    try:
        return psutil.Process(driver.pid).children()
    except psutil.NoSuchProcess:
        return []


def _end(worker: psutil.Process) -> None:
    try:
        worker.send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        return


def prove(kills: int, seed: int) -> Found:
    """One job with so many kills, in a folder that is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="batch"))
    try:
        proof = Proof(folder, kills, seed)
        with contextlib.closing(proof.witness):
            proof.prepare(seed)
            calm = proof.undisturbed()
            begun = time.monotonic()
            proof.fire()
            return proof.look(calm, time.monotonic() - begun)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """Run and print one line; 1 if anything happened that must not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    found = prove(options.kills, options.seed)
    print(found.line())
    return 0 if found.good else 1


if __name__ == "__main__":
    sys.exit(main())
