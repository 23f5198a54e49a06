"""The process of a job that the platform runs: `python -m argosy.client.job FOLDER`, as `jobs/folder.py` says.

A run that is begun again goes on where the one before it was.
"""

import contextlib
import functools
import os
import sys
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from argosy.batch.idle import idle
from argosy.jobs.folder import Folder, Progress, Result, RunRequest
from argosy.spec.errors import ArgosyError, Internal, PermissionDenied

if TYPE_CHECKING:
    from argosy.batch.progress import Show, View

EVERY = 1.0
"""Seconds between two reports on how far it is."""

say = functools.partial(print, flush=True)
"""A line for the log."""


@contextlib.contextmanager
def reporting(folder: Folder) -> Generator["Show"]:
    """Show views to the platform, and to whoever reads the log."""
    from argosy.batch.progress import lines, throttled

    def report(view: "View") -> None:
        with contextlib.suppress(OSError):
            folder.report(Progress(rows=view.rows, total=view.total, rate=view.rate, left=view.left, cost=view.cost))

    with lines(say) as write, throttled(report, EVERY) as note:

        def show(view: "View") -> None:
            write(view)
            note(view)

        yield show


def check(request: RunRequest) -> None:
    """Raises PermissionDenied where a place of the job, or a file that its inputs or the plan of an earlier run name,
    may not be read or written: what lies in an allowed folder may be a link out of it. The message names no such file.
    """
    from argosy.batch.find import expand
    from argosy.batch.ledger import Ledger
    from argosy.batch.place import place

    if not request.allowed.confined:
        return
    request.allowed.check_job(request.batch)
    plan = Ledger(place(request.batch.output)).plan()
    for text in request.batch.inputs if plan is None else ():
        if not all(request.allowed.holds(spot.url, "inputs") for spot in expand(text)):
            raise PermissionDenied(f"the batch job's input '{text}' leads by a link out of what allow.inputs says")
    if plan is not None and not all(request.allowed.holds(file.url, "inputs") for file in plan.files):
        raise PermissionDenied(f"what was begun in {request.batch.output} reads files that allow.inputs does not cover")


def main(path: Path) -> int:
    """Do the job of this folder. Its exit status is that of the error table."""
    from argosy.client.batch import run

    folder = Folder(path)
    request = folder.request()
    if request.idle:
        idle()
    try:
        check(request)
        paths = not request.allowed.confined and os.path.isabs(request.batch.model)
        slots = (request.name, request.slots) if request.slots else None
        given = msgspec.to_builtins(request.batch)
        found = run(given, resume=True, display=reporting(folder), note=say, paths=paths, slots=slots)
        result = Result(exit=found.exit, report=found.report)
    except ArgosyError as error:
        result = Result(exit=error.exit, error=error.message)
        print(error.message, file=sys.stderr)
    except Exception as error:
        folder.end(Result(exit=Internal.exit, error=f"this is a bug in argosy: {type(error).__name__}: {error}"))
        raise
    folder.end(result)
    return result.exit


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
