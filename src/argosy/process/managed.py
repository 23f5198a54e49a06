"""Processes that a platform starts and that outlive it: found again by what they carry from their start, and ended.

A process is never found by a bare pid, but by its command line or by a variable of its environment, so that none
escapes, even where a controller died before it could note a pid.
"""

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

EXECUTED = 0.1
"""Seconds in which a process that was started has its command line."""
KERNEL = (0, 2)
"""Parents of the threads of the kernel, which have none."""
VARIABLE = "ARGOSY_PLATFORM"
"""Marks whatever a platform starts with its own environment, and what that starts: by the home's id."""


def home_id(root: Path) -> str:
    """Tells the processes of one home from those of another."""
    return hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:12]


def mark(root: Path) -> None:
    """Have every process that this one starts from now on carry the mark of the home."""
    os.environ[VARIABLE] = home_id(root)


def marked(root: Path) -> list[psutil.Process]:
    """Processes that carry the mark of the home."""
    ours = home_id(root)
    return [process for process, value in variables(VARIABLE) if value == ours]


def variables(name: str) -> Iterator[tuple[psutil.Process, str]]:
    """Every live process that can be looked at and has this variable, with its value."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            value = process.environ().get(name)
            if value is not None and alive(process):
                yield process, value


def commands() -> Iterator[tuple[psutil.Process, list[str]]]:
    """Every process that can be looked at, with the words of its command line."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            yield process, process.cmdline() or _late(process)


def _late(process: psutil.Process) -> list[str]:
    """The command line of a process that shows none. Linux lets its parent go on before execve(2) has set it."""
    limit = time.monotonic() + EXECUTED
    while not (words := process.cmdline()) and process.ppid() not in KERNEL and time.monotonic() < limit:
        time.sleep(0.001)
    return words


def alive(process: psutil.Process) -> bool:
    """Whether it runs; one that has ended and is not yet waited for by its parent does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
