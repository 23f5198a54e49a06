"""Processes are found by their command line, also in the moment in which they have none yet."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from argosy.process import managed

LINE = "import sys; sys.stdin.read()"


@pytest.fixture
def child(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-S", "-c", LINE, "argosy.some", str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_one_that_has_no_command_line_yet_is_found(
    child: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked, cmdline = [], psutil.Process.cmdline

    def late(self: psutil.Process) -> list[str]:
        if self.pid == child.pid:
            asked.append(self.pid)
        return [] if self.pid == child.pid and len(asked) < 3 else cmdline(self)

    monkeypatch.setattr(psutil.Process, "cmdline", late)
    monkeypatch.setattr(managed, "EXECUTED", 60.0)
    found = [process.pid for process, words in managed.commands() if words[-2:] == ["argosy.some", str(tmp_path)]]
    assert found == [child.pid]


def test_one_that_never_has_a_command_line_does_not_hold_up_the_search(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(managed, "EXECUTED", 0.01)
    monkeypatch.setattr(psutil.Process, "cmdline", lambda self: [])
    assert (child.pid, []) in [(process.pid, words) for process, words in managed.commands()]
