"""A trigger's command as the controller sees it: where its files lie, its start, its end."""

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from argosy.alerting.triggers import runner
from argosy.alerting.triggers.runner import MODULE
from argosy.process import launch, managed
from argosy.process.process import Process, spawn
from argosy.process.process import end as end_processes
from argosy.spec.secret import resolved
from argosy.spec.settings import Home
from argosy.spec.trigger import Command
from argosy.store.durable import replace
from argosy.store.triggers import Run
from argosy.targets.log import note

VARIABLE = "ARGOSY_TRIGGER"
"""Tells a command where its document is."""
PASSED = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH", "LD_LIBRARY_PATH")
MARKS = ("ARGOSY_REPLICA", "ARGOSY_GATEWAY", managed.VARIABLE, VARIABLE)


def folder(home: Home, run: str) -> Path:
    """Where the document, lock and end of a run lie, by its id: `ENDPOINT/TRIGGER@TIME`, names that no path minds."""
    return home.root / "triggers" / run


def log(home: Home, run: Run) -> Path:
    """What all commands of a trigger have said."""
    return home.logs / f"trigger.{run.endpoint}.{run.trigger}.log"


def start(home: Home, run: Run, command: Command, environ: Mapping[str, str]) -> Process:
    """Write the document and start the command. Raises StorageFull, Internal, InvalidArgument where a variable that it
    is to be given is not set."""
    place = folder(home, run.id)
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    document = place / "document.json"
    replace(document, run.document.encode(), place, mode=0o600)
    given = environment(home, command, environ) | {VARIABLE: str(document)}
    note(log(home, run), f"trigger {run.id}: {run.reason}")
    child = launch.ours(MODULE, str(place), f"{command.timeout:g}", *command.argv, folder=place, given=given)
    return spawn(child.command, child.environ, log(home, run))


def environment(home: Home, command: Command, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of a command: those of the platform that programs need, its settings, and those declared. The
    programs beside this Python (`argosy`) come first on the PATH."""
    given = {name: value for name, value in environ.items() if name in PASSED or name.startswith(("LC_", "ARGOSY_"))}
    for each in MARKS:
        given.pop(each, None)
    own, path = str(Path(sys.executable).parent), given.get("PATH", os.defpath)
    given |= {"PATH": f"{own}{os.pathsep}{path}", "ARGOSY_HOME": str(home.root)}
    return given | {name: resolved(value, environ, f"triggers: {name}") for name, value in command.environ.items()}


def alive(home: Home, run: Run, process: Process | None) -> bool:
    """Whether it still runs, started by this controller or an earlier one."""
    return (process is not None and not process.ended()) or runner.alive(folder(home, run.id))


def end(home: Home) -> int:
    """End what commands of a home run; how many processes that were. None of them counts as having ended, so that each
    is run again by the next platform."""
    runners: list[psutil.Process] = []
    for each in processes(home):
        with contextlib.suppress(psutil.Error):
            runners += [each] if MODULE in each.cmdline() else []
    return end_processes(runners, runner.PATIENCE) + end_processes(processes(home))


def processes(home: Home) -> Iterator[psutil.Process]:
    """The processes of a home's commands and their children, by what they were told."""
    root = f"{home.root / 'triggers'}{os.sep}"
    return (process for process, document in managed.variables(VARIABLE) if document.startswith(root))
