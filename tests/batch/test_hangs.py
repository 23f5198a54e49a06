"""A model that hangs at a row: the worker is killed and counts as one that crashed there; no row is lost or doubled."""

import contextlib
import json
import re
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest

import argosy
from argosy.batch import scheduler
from argosy.spec.errors import Internal
from argosy.spec.settings import Settings
from argosy.store import open_store
from tests.batch import kit
from tests.batch.test_driver import ended, gone, resume, workers
from tests.platform import packages

ROWS, AT, BAD = 120, 63, 17
PATIENCE = 3

CLASS = """
import os, sys, threading, time
from argosy.spec.errors import InvalidArgument

time.sleep(float(os.environ.get("LOADS", "0")))

class Model:
    def load(self, path):
        self.path = path

    def predict(self, inputs):
        x = inputs["x"]
        if (x[:, 0] < 0).any():
            raise InvalidArgument("x is below 0")
        if (x[:, 1] == 5).any() and int((self.path / "hangs").read_text() or 0):
            print("it hangs", file=sys.stderr, flush=True)
            lock = threading.Lock()
            with lock:
                lock.acquire()
        return {"label": x[:, 0].astype("i8") * 3 + 1}
"""
"""Refuses rows below 0, and locks itself out at a five as long as a file of its package says so: a model can write
nothing that another would see. Takes LOADS seconds to be loaded."""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    found = kit.home(tmp_path_factory.mktemp("home"))
    store = open_store(found, Settings())
    golden = np.array([[1, 0], [2, 0]], np.float32)
    version = packages.push_class(store, found.root / "made", CLASS, golden, np.array([4, 7]), name="hanging")
    store.unpacked(version.digest)
    store.close()
    return found


class Watch:
    """Lets the model hang so many times, by what the workers' logs say of it."""

    def __init__(self, file, output):
        self.file, self.output = file, output
        self._stop, self._thread = threading.Event(), None
        self.times = self.hung = 0

    def say(self, times):
        """Hang so often from now on; gives how often it did."""
        self.close()
        self.times, self.hung, self._before = times, 0, self._count()
        self._stop.clear()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return lambda: self.hung

    def _count(self):
        logs = (self.output / "_argosy/logs").glob("worker-*.log")
        with contextlib.suppress(OSError):
            return sum(log.read_text().count("it hangs") for log in logs)
        return 0

    def _run(self):
        while not self._stop.wait(0.01):
            self.hung = max(self.hung, self._count() - self._before)
            with contextlib.suppress(OSError):  # whoever unpacks the package removes what is none of it
                fresh = self.file.with_name("fresh")  # a model must not find the file empty
                fresh.write_text(str(max(0, self.times - self.hung)))
                fresh.replace(self.file)

    def close(self):
        self._stop.set()
        if self._thread is not None:
            self._thread.join()


@pytest.fixture
def hangs(home, tmp_path, monkeypatch):
    """Say how often it hangs; gives how often it did by then."""
    monkeypatch.setenv("ARGOSY_HOME", str(home.root))
    (weights,) = home.packages.glob("*/weights")
    watch = Watch(weights / "hangs", tmp_path / "out")
    yield watch.say
    watch.close()


@pytest.fixture
def data(tmp_path):
    """Row AT makes it hang; row BAD is refused."""
    ids, second = np.arange(ROWS), np.zeros(ROWS)
    ids[BAD], second[AT] = -1, 5
    return kit.write(tmp_path / "data", kit.table(ids, second), group=40)


def job(data, output, *more, patience=PATIENCE):
    fixed = ("--input", data, "--output", output, "--keep", "id", "--workers", 2, "--checkpoint", 0, "--batch-size", 4)
    return kit.start("hanging:1", *fixed, "--fragment-rows", 40, "--patience", patience, *more)


def left(output):
    """The ids that were written, and those that were quarantined."""
    rejects = (output / "_argosy/quarantine").glob("*.parquet")
    return kit.ids(output), [value for path in rejects for value in pq.read_table(path)["id"].to_pylist()]


GOOD = [number for number in range(ROWS) if number != BAD]


@pytest.mark.slow
def test_one_that_hangs_now_and_then_is_killed_and_others_go_on(hangs, data, tmp_path):
    tried = hangs(2)
    status, out, err = ended(job(data, tmp_path / "out", "--on-error", "quarantine", "--json"))
    assert status == 0, err
    assert (json.loads(out)["rows"], json.loads(out)["quarantined"]) == (ROWS, 1)
    assert left(tmp_path / "out") == (GOOD, [-1])
    assert tried() == 2


@pytest.mark.slow
@pytest.mark.parametrize("on_error", ["quarantine", "skip"])
def test_rows_at_which_every_worker_hangs_end_the_job_with_their_name(hangs, data, tmp_path, on_error):
    tried = hangs(1000)
    process = job(data, tmp_path / "out", "--on-error", on_error)
    status, _, err = ended(process)
    assert status == 1
    assert f"{data}/0.parquet, row 60: worker after worker died at the rows from there on" in err
    assert re.search(r"the last hung for [3-9] s, reported nothing and was killed", err)
    assert "raise --patience" in err
    assert "take these rows out of the input" in err
    assert tried() == 3
    logs = "".join(log.read_text() for log in (tmp_path / "out/_argosy/logs").glob("worker-*.log"))
    assert 1 <= len(re.findall(r"model\.py\", line \d+ in predict", logs)) <= 3  # a busy one writes none in its time
    hangs(0)
    status, _, err = resume(tmp_path / "out")
    assert status == 0, err
    assert left(tmp_path / "out") == (GOOD, [-1] if on_error == "quarantine" else [])


@pytest.mark.slow
def test_a_row_that_is_refused_ends_a_job_with_fail_before_anything_hangs_long(hangs, data, tmp_path):
    hangs(1000)
    status, _, err = ended(job(data, tmp_path / "out", "--workers", 1))
    assert (status, f"{data}/0.parquet, row {BAD}: x is below 0" in err) == (2, True)


@pytest.mark.slow
def test_what_a_model_takes_to_be_loaded_is_not_counted(hangs, data, tmp_path):
    hangs(0)
    status, _, err = ended(job(data, tmp_path / "out", "--on-error", "skip", "--env", f"LOADS={PATIENCE + 1}"))
    assert status == 0, err
    assert kit.ids(tmp_path / "out") == GOOD


@pytest.mark.slow
def test_a_model_that_hangs_when_it_is_loaded_ends_the_job(hangs, data, tmp_path, monkeypatch):
    hangs(0)
    monkeypatch.setattr(scheduler, "LOADING", PATIENCE + 1.0)
    settings = {
        "env": {"LOADS": "1000"},
        "workers": 1,
        "threads": 1,
        "batch_size": 4,
        "patience": float(PATIENCE),
        "checkpoint": 0.0,
    }
    with pytest.raises(Internal, match=r"3 workers in a row died before they had loaded .* the last hung for [4-9] s"):
        argosy.batch("hanging:1", data, tmp_path / "out", **settings)
    assert kit.entries(tmp_path / "out") == []


@pytest.mark.slow
def test_patience_may_be_without_end_and_given_anew(hangs, data, tmp_path):
    tried = hangs(1)
    process = job(data, tmp_path / "out", "--on-error", "skip", patience=0)
    limit = time.monotonic() + 60
    while not tried():
        assert time.monotonic() < limit
        time.sleep(0.05)
    time.sleep(PATIENCE + 1)
    assert (tried(), process.poll()) == (1, None)
    members = workers(process)
    process.kill()
    process.communicate()
    for member in members:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    assert gone(members)
    tried = hangs(1)
    status, _, err = ended(kit.start("--output", tmp_path / "out", "--resume", "--patience", PATIENCE))
    assert status == 0, err
    assert (tried(), kit.ids(tmp_path / "out")) == (1, GOOD)


ORPHAN = """
import socket, sys, threading
from argosy.batch.wire import Channel
from argosy.batch.worker import Worker

channel = Channel(socket.socket(fileno=int(sys.argv[1])))
worker = Worker(1, channel.send, grace=0.5)
threading.Thread(target=worker.listen, args=(channel,), daemon=True).start()
print("hangs", flush=True)
threading.Lock().acquire() and threading.Event().wait()
"""


def test_a_worker_that_hangs_and_has_lost_its_driver_ends_with_its_stacks_in_its_log():
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-c", ORPHAN, str(theirs.fileno())]
    with subprocess.Popen(command, pass_fds=[theirs.fileno()], stdout=-1, stderr=-1, text=True) as process:
        theirs.close()
        assert process.stdout is not None
        assert process.stdout.readline() == "hangs\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.0)
        ours.close()
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert 'File "<string>", line 10 in <module>' in err
