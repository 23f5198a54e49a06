"""A session whose tests leave processes behind fails, names them and ends them."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

MODULE = """
import os, subprocess, sys

def test_it(tmp_path):
    quiet = dict(start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    sleeper = [sys.executable, "-c", "import time; time.sleep(300)"]
    processes = [
        subprocess.Popen(sleeper, **quiet),
        subprocess.Popen([*sleeper, tmp_path], env={}, **quiet),
        subprocess.Popen(sleeper, env={}, cwd=tmp_path, **quiet),
    ]
    open(os.environ["TOLD"], "w").write(" ".join(str(each.pid) for each in processes))
    for process in processes[:int(os.environ["ENDED"])]:
        process.kill()
        process.wait()
"""


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Path]:
    """Where the test of a session writes which processes it has started."""
    yield tmp_path / "pids"
    for process in alive(tmp_path / "pids"):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def alive(told: Path) -> list[psutil.Process]:
    """Those that still run."""
    found: list[psutil.Process] = []
    for pid in told.read_text().split():
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(int(pid))
            found += [process] if process.status() != psutil.STATUS_ZOMBIE else []
    return found


def session(told: Path, ended: int, *more: str) -> subprocess.CompletedProcess[str]:
    """A session of one test that starts three processes and ends so many."""
    (told.parent / "conftest.py").write_text("from tests import leftovers\nleftovers.PATIENCE = 0.5\n")
    (told.parent / "test_one.py").write_text(MODULE)
    command = [sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", told.parent, "-p", "tests.leftovers"]
    command += ["-p", "xdist"]
    environ = {
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "TOLD": str(told),
        "ENDED": str(ended),
    }
    return subprocess.run(
        [*command, *more, told.parent / "test_one.py"],
        cwd=told.parent, env=os.environ | environ, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


def test_what_is_left_is_named_and_ended_and_the_session_fails(told: Path):
    done = session(told, 0, "-n", "1")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    for pid in told.read_text().split():
        assert f"{pid}  {sys.executable} -c import time; time.sleep(300)" in done.stdout
    assert "started in test_one.py::test_it" in done.stdout
    assert psutil.wait_procs(alive(told), 60)[1] == []


def test_what_ends_is_no_fault_nor_is_a_process_of_another_session(told: Path):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        done = session(told, 3)
        assert (done.returncode, "left running" in done.stdout) == (0, False), done.stdout + done.stderr
        assert other.poll() is None
        assert other.stdin is not None
        other.stdin.write(b"\n")
