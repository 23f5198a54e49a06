"""Processes of a home that no record leads to any more, found by what they carry: marks and command lines."""

import contextlib
import os
import shutil
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import psutil

from argosy.spec.settings import Home
from argosy.targets.tags import home_id, scan

WAIT = 3.0
VARIABLE = "ARGOSY_PLATFORM"
"""Marks whatever a platform starts with its own environment, and what that starts: by the home's id."""


def mark(home: Home) -> None:
    """Have every process that this one starts from now on carry the mark of the home."""
    os.environ[VARIABLE] = home_id(home.root)


def marked(home: Home) -> list[psutil.Process]:
    """Processes that carry the mark of the home."""
    ours, found = home_id(home.root), list[psutil.Process]()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(VARIABLE) == ours:
                found.append(process)
    return found


def alive(process: psutil.Process) -> bool:
    """Whether it runs; one that has ended and is not yet waited for by its parent does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def gateways(home: Home) -> list[psutil.Process]:
    """Envoys that were started with this home's bootstrap file."""
    file = str(home.gateway.absolute() / "bootstrap.json")
    return [process for process, words in commands() if file in words]


def rooms(home: Home) -> list[psutil.Process]:
    """Waiting rooms of this home."""
    return _modules("argosy.activator.server", home.run)


def recorders(home: Home) -> list[psutil.Process]:
    """Recorders of this home."""
    return _modules("argosy.monitoring.recorder", home.root)


def _modules(name: str, argument: Path) -> list[psutil.Process]:
    """Processes that run a module of ours with this as its argument."""
    ending = [name, str(argument.absolute())]
    return [process for process, words in commands() if words[-2:] == ending]


def commands() -> Iterator[tuple[psutil.Process, list[str]]]:
    """Every process that can be looked at, with the words of its command line."""
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        yield process, words


def end_strays(home: Home) -> int:
    """End gateways that could not be adopted. How many there were."""
    return end(gateways(home), drain=0.0)


def end(processes: Sequence[psutil.Process], drain: float) -> int:
    """SIGTERM, and SIGKILL for those still there after `drain` seconds (none: at once). How many were given."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.terminate() if drain else process.kill()
    for process in _await(processes, drain or WAIT):
        with contextlib.suppress(psutil.Error):
            process.kill()
    _await(processes, WAIT)
    return len(processes)


def _await(processes: Collection[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Those that are still there after so many seconds."""
    end = time.monotonic() + seconds
    while (left := [each for each in processes if alive(each)]) and time.monotonic() < end:
        time.sleep(0.02)
    return left


def replicas(home: Home) -> tuple[list[psutil.Process], float]:
    """Every process of a replica, and the longest time one may take to drain."""
    found = list(scan(home.root))
    drains = [each.record.revision.runtime.drain_timeout for each in found if each.record]
    return [each.process for each in found], max(drains, default=0.0)


def sweep(folder: Path) -> None:
    """Remove the sockets and configurations of replicas that are gone, and the folder."""
    shutil.rmtree(folder, ignore_errors=True)
