"""Processes of a home that no record leads to any more, found by what they carry: marks and command lines."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import psutil

from argosy.control.place import gateway_folder
from argosy.spec.settings import Home
from argosy.targets.marks import scan

WAIT = 3.0


def gateways(home: Home) -> list[psutil.Process]:
    """Envoys that were started with this home's bootstrap file."""
    file = str(gateway_folder(home).absolute() / "bootstrap.json")
    return [process for process, words in commands() if file in words]


def rooms(home: Home) -> list[psutil.Process]:
    """Waiting rooms of this home."""
    return _modules("argosy.control.activator", home.run)


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


def end(processes: list[psutil.Process], drain: float) -> int:
    """SIGTERM, and SIGKILL for those still there after `drain` seconds (none: at once)."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.terminate() if drain else process.kill()
    _, left = psutil.wait_procs(processes, timeout=drain or WAIT)
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, timeout=WAIT)
    return len(processes)


def replicas(home: Home) -> tuple[list[psutil.Process], float]:
    """Every process of a replica, and the longest time one may take to drain."""
    found = list(scan(home.root))
    drains = [each.record.revision.runtime.drain_timeout for each in found if each.record]
    return [each.process for each in found], max(drains, default=0.0)


def sweep(folder: Path) -> None:
    """Remove the sockets and configurations of replicas that are gone, and the folder."""
    if folder.is_dir():
        for path in folder.iterdir():
            path.unlink(missing_ok=True)
        folder.rmdir()
