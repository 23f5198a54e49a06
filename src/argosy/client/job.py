"""The process of a job that the platform runs: `python -m argosy.client.job FOLDER`, as `jobs/folder.py` says.

A run that is begun again goes on where the one before it was.
"""

import contextlib
import functools
import os
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import msgspec

from argosy.batch.idle import idle
from argosy.jobs.folder import Folder, Progress, Result, Told
from argosy.spec.errors import ArgosyError, Internal, PermissionDenied

if TYPE_CHECKING:
    from argosy.batch.progress import View

EVERY = 1.0
"""Seconds between two words on how far it is."""


say = functools.partial(print, flush=True)
"""A line for the log."""


class Teller:
    """Shows views to the platform, and to whoever reads the log."""

    def __init__(self, folder: Folder) -> None:
        from argosy.batch.progress import Lines

        self._folder, self._due = folder, 0.0
        self._last: View | None = None
        self._lines = Lines(say)

    def __enter__(self) -> "Teller":
        return self

    def show(self, view: "View") -> None:
        """Tell it, if it is time."""
        self._lines.show(view)
        if time.monotonic() >= self._due:
            self._tell(view)
            self._due = time.monotonic() + EVERY
        self._last = view

    def _tell(self, view: "View") -> None:
        with contextlib.suppress(OSError):
            self._folder.tell(
                Progress(rows=view.rows, total=view.total, rate=view.rate, left=view.left, cost=view.cost)
            )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.__exit__(kind, error, trace)
        if self._last is not None:
            self._tell(self._last)


def check(told: Told) -> None:
    """Raises PermissionDenied where a place of the job, or a file that its inputs or the plan of an earlier run name,
    may not be read or written: what lies in an allowed folder may be a link out of it. Nothing is told of such a file.
    """
    from argosy.batch.find import expand
    from argosy.batch.ledger import Ledger
    from argosy.batch.place import place

    if not told.allowed.confined:
        return
    told.allowed.check_job(told.batch)
    plan = Ledger(place(told.batch.output)).plan()
    for text in told.batch.inputs if plan is None else ():
        if not all(told.allowed.holds(spot.url, "inputs") for spot in expand(text)):
            raise PermissionDenied(f"the batch job's input '{text}' leads by a link out of what allow.inputs says")
    if plan is not None and not all(told.allowed.holds(file.url, "inputs") for file in plan.files):
        raise PermissionDenied(f"what was begun in {told.batch.output} reads files that allow.inputs does not cover")


def main(path: Path) -> int:
    """Do the job of this folder. Its exit status is that of the error table."""
    from argosy.client.batch import run

    folder = Folder(path)
    told = folder.told()
    if told.idle:
        idle()
    try:
        check(told)
        paths = not told.allowed.confined and os.path.isabs(told.batch.model)
        found = run(msgspec.to_builtins(told.batch), resume=True, display=Teller(folder), note=say, paths=paths)
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
