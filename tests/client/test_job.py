"""The process of a job of the platform: what it says of its end."""

import os
import signal
import subprocess
import sys
import time

from argosy.batch.ledger import Seal
from argosy.client.batch import BatchResult
from argosy.jobs.folder import Folder, Result, RunRequest
from argosy.spec.batch import BatchJob
from argosy.spec.errors import INTERRUPTED
from tests.batch import kit

SEAL = Seal(
    model="m", files=1, fragments=1, rows=1, out=1, skipped=0, quarantined=0, parts=1, size=1, digest="d", seconds=0.1
)


def test_the_status_of_a_result_is_that_of_an_interruption_where_there_is_no_seal():
    stopped = BatchResult(output="out", model="m")
    assert (stopped.exit, BatchResult(output="out", model="m", seal=SEAL).exit) == (INTERRUPTED, 0)


def test_a_job_that_is_told_to_stop_says_so_in_its_folder_and_by_its_status(tmp_path):
    data = kit.write(tmp_path / "data", kit.table(range(400)))
    home, out = kit.home(tmp_path / "home"), tmp_path / "out"
    fixed = {"batch_size": 4, "workers": 1, "threads": 1, "checkpoint": 0.0, "env": {"SLOW": "0.1"}}
    folder = Folder(tmp_path / "one-1")
    folder.begin(RunRequest(batch=BatchJob(model="picky:1", inputs=(str(data),), output=str(out), **fixed), idle=False))
    process = subprocess.Popen(
        [sys.executable, "-m", "argosy.client.job", str(folder.path)],
        env=os.environ | {"ARGOSY_HOME": str(home.root)},
    )
    limit = time.monotonic() + 60
    while not any(path.stat().st_size for path in (out / "_argosy/spool").glob("*")):
        assert time.monotonic() < limit
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == INTERRUPTED
    assert folder.result() == Result(exit=INTERRUPTED)
