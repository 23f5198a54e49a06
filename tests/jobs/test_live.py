"""A job on a real platform: submitted by the command line, killed with its controller, and every row there once."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from argosy.cli.batch import batch
from argosy.jobs import runner
from argosy.platform.down import down
from argosy.spec.settings import Home, Settings
from argosy.store import ledger
from argosy.store.store import Store
from tests.platform.packages import push
from tests.platform.up import Up, until
from tests.programs import cut_off

ROWS = 400_000


@pytest.fixture
def rows(home: Home, store: Store) -> Path:
    push(store, home.root / "package", 3.0)
    x = np.arange(ROWS * 4, dtype=np.float32).reshape(ROWS, 4)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), 4)
    path = home.root / "in.parquet"
    pq.write_table(pa.table({"x": lists, "id": np.arange(ROWS)}), path, row_group_size=20_000)
    return path


def ask(home: Home, *words: str) -> str:
    found = CliRunner().invoke(batch, list(words), env={"ARGOSY_HOME": str(home.root)}, catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.output


@pytest.mark.slow
@pytest.mark.timeout(360)
def test_a_job_outlives_its_controller_and_its_own_death(home: Home, rows: Path, start: Callable[..., Up]):
    with home.config.open("a") as config:
        config.write("batch: {idle: false}\n")  # beside other tests an idle job gets no core for minutes
    platform = start().ready()
    out = home.root / "out"
    settings = ["--fragment-rows", "20000", "--batch-size", "8", "--checkpoint", "0.05", "--workers", "1"]
    settings += ["--patience", "600"]
    ask(home, "submit", "digits:1", "--input", str(rows), "-o", str(out), "--keep", "id", "--name", "one", *settings)
    assert platform.call("GET", "/v1/jobs/one")["job"]["batch"]["patience"] == 600
    until(lambda: list(out.glob("*.parquet")))
    platform.kill()
    job = runner.processes(home)["one-1"]
    assert job.is_running()
    platform = start().ready()
    cut_off(job)
    until(lambda: platform.call("GET", "/v1/jobs/one")["state"] == "succeeded", 240)
    answers = pq.read_table(out)
    order = answers["id"].to_numpy()
    assert np.array_equal(order, np.arange(ROWS))
    got = answers["y"].combine_chunks().flatten().to_numpy()
    assert np.array_equal(got, 3 * np.arange(ROWS * 4, dtype=np.float32))
    (run,) = platform.call("GET", "/v1/jobs/one")["runs"]
    assert (run["attempts"], run["exit"], run["progress"]["rows"]) == (2, 0, ROWS)
    assert f"{ROWS:,} of {ROWS:,} rows" in ask(home, "logs", "one")
    assert "succeeded" in ask(home, "ls")
    assert str(out) in ask(home, "status", "one")


def test_what_a_job_is_told_is_checked_when_it_is_submitted(home: Home, rows: Path, start: Callable[..., Up]):
    platform = start().ready()
    wrong = {"name": "two", "batch": {"model": "digits:1", "inputs": [str(rows)], "output": "out"}, "schedule": "soon"}
    assert platform.ask("POST", "/v1/jobs", json=wrong).status_code == 400
    assert "needs {date}" in platform.ask("POST", "/v1/jobs", json=wrong | {"schedule": "* * * * *"}).text
    assert platform.ask("POST", "/v1/jobs", json={**wrong, "schedule": "", "colour": 1}).status_code == 400
    assert platform.call("GET", "/v1/jobs") == []
    assert platform.ask("GET", "/v1/jobs/two/logs").status_code == 404


@pytest.mark.slow
def test_a_running_job_is_cancelled_and_goes_with_the_platform(
    home: Home, store: Store, rows: Path, start: Callable[..., Up]
):
    with home.config.open("a") as config:
        config.write("batch: {idle: false}\n")  # beside other tests an idle job gets no core for minutes
    platform = start().ready()
    slow = ["--batch-size", "1", "--workers", "1", "--checkpoint", "0.05"]
    for name in ("one", "two"):
        out = str(home.root / name)
        ask(home, "submit", "digits:1", "--input", str(rows), "-o", out, "--name", name, *slow)
    until(lambda: (platform.call("GET", "/v1/jobs/one")["runs"][0]["progress"] or {"rows": 0})["rows"])
    ask(home, "cancel", "one", "-m", "too dear")
    until(lambda: platform.call("GET", "/v1/jobs/one")["state"] == "cancelled")
    until(lambda: platform.call("GET", "/v1/jobs/two")["state"] == "running")
    with store.database.read() as connection:
        assert [each.reason for each in ledger.entries(connection, "batch/one") if each.event == "cancel"] == [
            "too dear"
        ]
    platform.stop()
    assert runner.processes(home) == {}


async def test_down_ends_the_jobs_of_a_controller_that_is_gone(
    home: Home, rows: Path, settings: Settings, start: Callable[..., Up]
):
    platform = start().ready()
    slow = ["--batch-size", "1", "--workers", "1", "--name", "one"]
    ask(home, "submit", "digits:1", "--input", str(rows), "-o", str(home.root / "out"), *slow)
    until(lambda: runner.processes(home))
    job = psutil.Process(runner.processes(home)["one-1"].pid)
    until(lambda: job.nice() == 19)
    platform.kill()
    assert await down(home, settings, report=print)
    assert runner.processes(home) == {}
