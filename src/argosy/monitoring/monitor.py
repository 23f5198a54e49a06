"""Monitors that evaluate every endpoint, and every fleet as one, once each of its windows is over: one loop for drift
and performance."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, Protocol, TypeVar

import msgspec

from argosy.alerting.incident import Finding as Wrong
from argosy.process.child import Child
from argosy.process.repeat import repeat
from argosy.spec.errors import ArgosyError
from argosy.spec.revision import Revision
from argosy.store import findings
from argosy.store.endpoints import Declared, Endpoints
from argosy.store.findings import Finding
from argosy.store.monitor_state import MonitorState
from argosy.store.store import Store
from argosy.store.streams import streams

LOG = logging.getLogger(__name__)
TICK = 2.0
AGAIN = 60.0
"""Seconds until an evaluation that failed is tried again, at most."""
HOUSEKEEPING = 3600.0
FLEETS = 30.0
"""Seconds until fleets are read again: their deployments are large."""
S = TypeVar("S", bound=msgspec.Struct)


class ReportFindings(Protocol):
    """Takes what is wrong now, as `Incidents.report` does."""

    def __call__(self, source: str, endpoint: str, found: Iterable[Wrong]) -> None: ...


class WindowMonitor(ABC, Generic[S]):
    """A task of a platform. It evaluates in a thread, and what is heavy in `child`; `clock` gives seconds since
    1970."""

    source: str
    states: MonitorState[S]

    def __init__(
        self, store: Store, state: Endpoints, report: ReportFindings, clock: Callable[[], float], child: Child
    ) -> None:
        self.store, self.state, self.report, self.clock, self.child = store, state, report, clock, child
        self._due: dict[str, float] = {}
        self._ended: set[str] = set()
        self._cleaned = self._read = 0.0
        self._fleets: tuple[list[Declared], dict[str, Revision]] = ([], {})

    @abstractmethod
    def window(self, declared: Declared) -> tuple[int, float] | None:
        """Seconds of a window of this endpoint, and after its end until it is on disk; None if it is not evaluated."""

    @abstractmethod
    def evaluate(self, declared: Declared, revisions: Mapping[str, Revision], now: float, end: float) -> bool:
        """Evaluate the windows until `end` and `write` what was found. Whether there are more. Raises ArgosyError,
        OSError: then it is tried again."""

    @abstractmethod
    def forget(self, name: str) -> None:
        """Delete what is stored of an endpoint that is not evaluated, besides its state."""

    def pause(self) -> float:
        """Seconds until an endpoint may be due."""
        return TICK

    async def run(self) -> None:
        """Until cancelled; the child process is then ended, too."""
        try:
            await repeat(lambda: asyncio.to_thread(self.turn), self.pause, f"the monitor '{self.source}'", LOG)
        finally:
            self.child.cancel()

    def turn(self) -> None:
        """Evaluate every endpoint that is due. Raises Unavailable, StorageFull."""
        if not self._read <= self.clock() < self._read + FLEETS:
            self._fleets, self._read = streams(self.store), self.clock()
        declared = {each.endpoint.name: each for each in (*self.state.endpoints(), *self._fleets[0])}
        revisions = self.state.revisions() | self._fleets[1]
        if self.clock() - self._cleaned > HOUSEKEEPING:
            self.clean(declared)
            self._cleaned = self.clock()
        for name in self._due.keys() - declared.keys():
            self._end(name)
        self._ended &= declared.keys()
        for name, each in declared.items():
            window = self.window(each)
            if window is None:
                if name not in self._ended:
                    self._end(name)
                continue
            self._ended.discard(name)
            now = self.clock()
            if now >= self._due.get(name, 0.0):
                every, settle = window
                end = float((now - settle) // every * every)
                self._due[name] = end + every + settle
                self._one(each, revisions, now, end)

    def _one(self, declared: Declared, revisions: Mapping[str, Revision], now: float, end: float) -> None:
        name = declared.endpoint.name
        try:
            if self.evaluate(declared, revisions, now, end):
                self._due[name] = now
        except (ArgosyError, OSError) as error:
            self._due[name] = min(self._due[name], now + AGAIN)
            text = error.message if isinstance(error, ArgosyError) else str(error)
            LOG.warning("the monitor '%s' could not evaluate '%s': %s", self.source, name, text)

    def _end(self, name: str) -> None:
        """Nothing is wrong any more with what is not evaluated."""
        self.report(self.source, name, ())
        self.forget(name)
        with self.store.database.begin() as connection:
            self.states.delete(connection, name)
        self._due.pop(name, None)
        self._ended.add(name)

    def clean(self, declared: Mapping[str, Declared]) -> None:
        """Delete what is stored of endpoints that are gone, and what is past its time. Raises Unavailable."""
        for name in self.states.endpoints(self.store.database) - declared.keys():
            self.report(self.source, name, ())
            self.forget(name)
        with self.store.database.begin() as connection:
            self.states.retain(connection, declared)
        findings.forget(self.store.database, self.clock())

    def write(self, name: str, found: Iterable[Finding], wrong: Iterable[Wrong], states: Mapping[str, S]) -> None:
        """Report what is wrong, then write findings and states (by subject) in one transaction: what is cut short is
        done again, to the same end."""
        self.report(self.source, name, wrong)
        with self.store.database.begin() as connection:
            findings.put(connection, found)
            for subject, state in states.items():
                self.states.put(connection, name, state, subject)


def serving(declared: Declared, revisions: Mapping[str, Revision]) -> Revision | None:
    """The revision that takes the traffic, or else the declared one."""
    return revisions.get(declared.serving.active or declared.revision)
