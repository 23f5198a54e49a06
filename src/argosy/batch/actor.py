"""What runs on the nodes of a Ray cluster: actors that do fragments, and one that hears from them."""

import io
import os
import tarfile
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from argosy.batch.liveness import loading
from argosy.batch.plan import Plan
from argosy.batch.sample import reference
from argosy.batch.spool import Tally
from argosy.batch.wire import Done, Failed, Message, Reached, Ready
from argosy.batch.work import Bench
from argosy.engines.base import require
from argosy.packaging.model_process import load_in_process
from argosy.packaging.package import open_package
from argosy.spec import crash
from argosy.spec.errors import ArgosyError

NEED = "Batch on Ray"
EVERY = 0.5
"""Seconds between two words of an actor about one fragment."""


class Starting(Message, frozen=True, tag="starting"):
    """An actor is about to load the model."""


class Begun(Message, frozen=True, tag="begun"):
    """An actor begins a fragment, so many of whose rows are safe."""

    number: int
    tally: Tally


class Notes:
    """An actor beside the driver: what the others have said since it was last asked."""

    def __init__(self) -> None:
        self._notes: list[Message] = []

    def add(self, note: Message) -> None:
        """Say something."""
        self._notes.append(note)

    def take(self) -> list[Message]:
        """What was said, in order; it is forgotten here."""
        notes, self._notes = self._notes, []
        return notes


class Answerer:
    """An actor: the engine of one process. Called with numbers of fragments, one at a time.

    `package` and `notes` hold one reference each, in a list so that Ray does not look them up by itself. What goes
    wrong is an answer, not an exception: Ray would hide it in one of its own.
    """

    def __init__(
        self,
        plan: bytes,
        package: Sequence[Any],
        notes: Sequence[Any],
        batch_size: int,
        threads: int,
        trusted: bool = False,
    ) -> None:
        self._notes = notes[0]
        self._tell(Starting())
        self._bench: Bench | None = None
        self._failed: Failed | None = None
        found = msgspec.json.decode(plan, type=Plan)
        self._patience, self._trusted = found.job.patience, trusted
        crash.end_after(loading(self._patience))
        try:
            self._bench = self._opened(found, package[0], batch_size, threads)
        except Exception as error:
            self._failed = _failure(error)
        crash.end_after(0.0)

    def _opened(self, plan: Plan, package: Any, batch_size: int, threads: int) -> Bench:
        ray = require("ray", "ray", NEED)
        self._folder = tempfile.TemporaryDirectory(prefix="argosy-")
        with tarfile.open(fileobj=io.BytesIO(ray.get(package))) as archive:
            archive.extractall(self._folder.name, filter="data")
        opened = open_package(Path(self._folder.name), trusted=self._trusted)
        model = load_in_process(opened, threads=threads, environ=plan.job.given(os.environ), network=plan.job.network)
        bench = Bench(plan, model.engine, batch_size, reference(model.package))
        bench.stage.create()
        self._tell(Ready(model.max_difference))
        return bench

    def __call__(self, rows: dict[str, Any]) -> dict[str, Any]:
        """For each number in `rows` how it went: Done or Failed, as JSON."""
        return {"told": [msgspec.json.encode(self._done(int(number))) for number in rows["number"]]}

    def _done(self, number: int) -> Done | Failed:
        if self._bench is None:
            return self._failed or Failed("internal", "an actor has no model")
        due: float | None = None

        def told(tally: Tally) -> None:
            nonlocal due
            if due is None:
                self._tell(Begun(number, tally))
            elif time.monotonic() >= due:
                self._tell(Reached(number, tally))
            else:
                return
            due = time.monotonic() + EVERY
            crash.end_after(self._patience and self._patience + EVERY)

        crash.end_after(self._patience)
        try:
            entry = self._bench.run(number, told, lambda: False)
        except Exception as error:
            return _failure(error)
        finally:
            crash.end_after(0.0)
        return Done(entry) if entry is not None else Failed("internal", "an actor stopped by itself")

    def _tell(self, note: Message) -> None:
        self._notes.add.remote(note)


def _failure(error: Exception) -> Failed:
    if isinstance(error, ArgosyError):
        return Failed(error.code, error.message)
    traceback.print_exception(error)
    return Failed("internal", f"a bug in a batch worker: {type(error).__name__}: {error}")


def packed(package: Path) -> bytes:
    """The files of a package as a tar."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.add(package, arcname=".")
    return out.getvalue()
