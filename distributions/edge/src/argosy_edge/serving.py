"""What the agent does with models for an update: self-test, trial, switch; and models for a program of the device."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from argosy_edge import model
from argosy_edge.candidate import Candidate, CandidateTask
from argosy_edge.errors import NotFound
from argosy_edge.model import EdgeModel
from argosy_edge.server import DeviceServer
from argosy_edge.slots import Slots
from argosy_edge.state import Died, Looked
from argosy_edge.watching import Watching
from argosy_edge.wire import Trial, Update


class Serving:
    """What `agent.Models` asks for: a server, and at most one candidate beside the model that it serves."""

    def __init__(self, server: DeviceServer, threads: int = 1, watching: Watching | None = None) -> None:
        self.server, self._watching = server, watching
        if watching is not None:
            server.observers.append(watching)
        self._threads = threads
        self._candidate: Candidate | None = None
        self._looked = 0.0

    def selftest(self, update: Update, folder: Path) -> None:
        """Load it in a process beside this one, and ask its golden examples within its budget. Raises BadPackage."""
        tried = Candidate(self._task(update, folder), Trial())
        try:
            tried.wait()
        finally:
            tried.stop()

    def load(self, update: Update, folder: Path) -> None:
        """Start the candidate: from now on it answers as `Update.trial` says. Raises BadPackage, Unavailable."""
        self.release()
        tried = Candidate(self._task(update, folder), update.trial)
        try:
            tried.wait()
        except BaseException:
            tried.stop()
            raise
        self._candidate, self._looked = tried, time.monotonic()
        if self._watching is not None:
            self._watching.watch(update, "", update.package)
            tried.hear = self._watching.candidate(update)
        self.server.candidate = tried

    def look(self) -> Looked | Died | None:
        """What both slots did since the last look; that the candidate's process has ended."""
        tried = self._candidate
        if tried is None:
            return None
        now = time.monotonic()
        seconds, self._looked = now - self._looked, now
        if tried.trouble:
            return Died(tried.trouble)
        return Looked(quality=tried.quality(), seconds=seconds, alone=self.server.model is None)

    def release(self) -> bool:
        """End the candidate's process. Whether there was one, which had not ended by itself."""
        tried, self._candidate, self.server.candidate = self._candidate, None, None
        if tried is None:
            return False
        healthy = not tried.trouble
        tried.stop()
        return healthy

    def switch(self, update: Update | None, folder: Path) -> None:
        """Serve this package, from a request to the next; None: nothing. The candidate's process ends after it. Raises
        BadPackage, and the model before serves on."""
        found = None
        if update is not None:
            found = model.load(folder, update.manifest, version=version_of(update.ref), threads=self._threads)
            found.selftest(whole=False)
            if self._watching is not None:
                self._watching.watch(update, found.name, found.version, alone=True)
        self.server.swap(found)
        self.release()

    def _task(self, update: Update, folder: Path) -> CandidateTask:
        return CandidateTask(
            folder=str(folder),
            manifest=update.manifest,
            version=version_of(update.ref),
            threads=self._threads,
            budget=update.budget,
        )


def opened(folder: Path, manifest: Mapping[str, Any] | None, threads: int) -> EdgeModel:
    """`argosy_edge.load`."""
    version = ""
    if manifest is None:
        slots = Slots(folder)
        state, trouble = slots.read(put_aside=False)
        update = slots.update(state.content) if state.content else slots.factory_update()
        if update is None:
            raise NotFound(
                f"{folder} has no model: {trouble or 'nothing was committed, and there is no factory model'}"
            )
        folder, manifest, version = slots.folder(state.committed), update.manifest, version_of(update.ref)
    found = model.load(folder, manifest, version=version, threads=threads)
    found.selftest(whole=False)
    return found


def version_of(ref: str) -> str:
    """`model:3` → `3`."""
    return ref.rpartition(":")[2] if ":" in ref else ""
