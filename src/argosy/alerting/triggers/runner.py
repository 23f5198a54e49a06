"""The process that runs a trigger's command: `python -m argosy.alerting.triggers.runner FOLDER SECONDS PROGRAM …`.

It is a process of its own so that the command outlives the controller, its time runs out without one, and its exit
status is kept. `FOLDER` holds the document, a lock that is held while the command or this process lives, and at last
the end. An end that is there already is not made anew.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import msgspec

from argosy.process.flock import holder, take
from argosy.store.durable import replace

MODULE = "argosy.alerting.triggers.runner"
LOCK, END = "lock", "end.json"
SHORT = 0.5
"""Seconds for those who only look whether the lock is held."""
PATIENCE = 10.0
"""Seconds between asking a command to end and ending it."""


class End(msgspec.Struct, frozen=True, kw_only=True):
    """How a command ended, at `at` (seconds since 1970): its exit status (negative: signal), or why there is none."""

    at: float
    status: int | None = None
    error: str = ""


def ended(folder: Path) -> End | None:
    """The end of a command, once there is one."""
    try:
        return msgspec.json.decode((folder / END).read_bytes(), type=End)
    except FileNotFoundError:
        return None


def alive(folder: Path) -> bool:
    """Whether the command of a folder, or what runs it, is still there."""
    return holder(folder / LOCK) is not None


def main(folder: Path, seconds: float, command: Sequence[str]) -> None:
    """Run the command in its folder and write how it ended. Asked to end (SIGTERM), it ends the command and writes
    nothing, so that it is run again."""
    try:
        handle = take(folder / LOCK, patience=SHORT)
    except BlockingIOError:
        return
    if ended(folder) is not None:
        return
    signal.signal(signal.SIGTERM, _asked)
    error, status = "", None
    try:
        status, error = _run(folder, seconds, command, handle)
    except OSError as failed:
        error = f"{command[0]} cannot be started: {failed.strerror}"
    end = End(at=time.time(), status=status, error=error)
    replace(folder / END, msgspec.json.encode(end), folder, mode=0o600)


def _asked(number: int, frame: FrameType | None) -> None:
    raise SystemExit(1)


def _run(folder: Path, seconds: float, command: Sequence[str], handle: int) -> tuple[int, str]:
    with subprocess.Popen(
        list(command), cwd=folder, stdin=subprocess.DEVNULL, start_new_session=True, pass_fds=[handle]
    ) as process:
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            _signal(process, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE)
            status = process.poll()
            return -signal.SIGKILL if status is None else status, f"ended after {seconds:g} s, its timeout"
        finally:
            _signal(process, signal.SIGKILL)
    return status, "" if status == 0 else f"exit status {status}"


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    """Signal what is left of the group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3:])
