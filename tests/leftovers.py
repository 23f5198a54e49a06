"""The folder of a test session, and what is left running when the session ends.

The controller of a session makes one folder and names it as TMPDIR, so that every process started by a test carries its
name: in its environment, its command line or its working directory. What still runs at the end is named, with the test
that started it, fails the session, and is killed.
"""

import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PATIENCE = 60.0
"""Seconds that processes which are about to end have for it."""
BORROWED = b"multiprocessing.resource_tracker"
"""Ends with the interpreter that started it, which may be this one."""
FOLDER = pytest.StashKey[Path]()
FOUND = pytest.StashKey[list["Process"]]()


class Process(NamedTuple):
    """A process that outlived its test."""

    pid: int
    command: str
    test: str

    def __str__(self) -> str:
        return f"{self.pid}  {self.command[:200]}  (started in {self.test})"


def running(mark: str) -> Iterator[Process]:
    """The processes that carry a mark, but this one and those that started it."""
    ours = _ancestors()
    for entry in Path("/proc").glob("[0-9]*"):
        pid = int(entry.name)
        if pid in ours:
            continue
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_bytes()
            environ = (entry / "environ").read_bytes()
            if not command or BORROWED in command:
                continue
            if any(mark.encode() in where for where in (environ, command, os.fsencode((entry / "cwd").readlink()))):
                told = dict(line.partition(b"=")[::2] for line in environ.split(b"\0"))
                test = told.get(b"PYTEST_CURRENT_TEST", b"a fixture").decode(errors="replace")
                yield Process(pid, command.replace(b"\0", b" ").decode(errors="replace").strip(), test)


def _ancestors() -> set[int]:
    found, pid = {0}, os.getpid()
    while pid not in found:
        found.add(pid)
        with contextlib.suppress(OSError):
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return found


def last(mark: str) -> list[Process]:
    """The processes that carry a mark and do not end by themselves in time."""
    end = time.monotonic() + PATIENCE
    while (found := list(running(mark))) and time.monotonic() < end:
        time.sleep(0.1)
    return found


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Make the folder, in the controller alone: its workers inherit TMPDIR."""
    if hasattr(config, "workerinput"):
        return
    folder = Path(tempfile.mkdtemp(prefix="a"))
    config.stash[FOLDER] = folder
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    config.option.basetemp = config.option.basetemp or str(folder / "t")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Look for what is left, once all workers have ended."""
    folder = session.config.stash.get(FOLDER, None)
    if folder is None:
        return
    left = session.config.stash[FOUND] = last(str(folder))
    for process in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    if left:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name them."""
    left = config.stash.get(FOUND, [])
    if left:
        terminalreporter.section("left running", red=True)
        terminalreporter.write_line("These processes outlived the session, which fails for it; they were killed:")
        for process in left:
            terminalreporter.write_line(str(process))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the folder."""
    if folder := config.stash.get(FOLDER, None):
        shutil.rmtree(folder, ignore_errors=True)
