"""The platform, as the agent has it: what is wanted, the files of it, and reports. Nothing here stops what serves.

Two threads wait for a network: one for what the platform wants, one to report. Each begins again after a time that
doubles, and is spread so that a fleet does not come back all at once.
"""

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from argosy_edge import signed
from argosy_edge.clock import Clock
from argosy_edge.errors import AgentError, BadSignature, Unavailable
from argosy_edge.fetch import Answer, Fetcher
from argosy_edge.spool import Spool
from argosy_edge.state import Event, State
from argosy_edge.trial import summed
from argosy_edge.wire import (
    AgentReport,
    Arm,
    Desired,
    DeviceEvent,
    Enrolled,
    Quality,
    Received,
    TransferPlan,
    Update,
    WireError,
)

log = logging.getLogger("argosy.edge")

WAIT = 50.0
"""Seconds that a request for news waits."""
REPORT = 60.0
"""Seconds between two reports; what happens to an update is reported at once."""
LONGEST = 600.0
"""Seconds between two attempts to reach the platform."""
PLANNING, EACH = 30, 2.0
"""Times that a plan is asked for while the platform makes it, and seconds between two."""
NETWORK = (AgentError, OSError, WireError)


class Link(Protocol):
    """Requests of this device (`link.Link`): each begins a session where there is none. Raises AgentError, OSError."""

    @property
    def keys(self) -> tuple[str, ...]: ...
    def desired(self, after: str, wait: float) -> Desired: ...
    def plan(self, package: str, have: Sequence[str]) -> TransferPlan: ...
    def report(self, report: AgentReport) -> Received: ...
    def get(self, path: str, start: int, end: int) -> Answer: ...


class Remote:
    """`counted`: what the slot that serves did since it was asked the last time."""

    def __init__(
        self,
        link: Link,
        enrolled: Enrolled,
        clock: Clock,
        spool: Spool,
        *,
        counted: Callable[[], Arm] = Arm,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.link, self.enrolled, self.clock, self.spool = link, enrolled, clock, spool
        self._stable, self._chance = counted, chance
        self._state = State()
        self._ended = threading.Event()
        self._due = threading.Event()
        self._fetchers: tuple[int, list[Fetcher]] = (0, [])
        self._lock = threading.Lock()
        self._looks, self._counted = Quality(), Quality()
        self.trouble = ""

    def open(self, desired: Desired) -> Update | None:
        """The update of a statement, verified. Raises BadSignature."""
        if desired.update is None:
            return None
        enrolled = self.enrolled
        try:
            return signed.check(desired.update, enrolled.fleet, self.link.keys, enrolled.signers)
        except WireError as error:
            raise BadSignature(f"the update that the platform wants is not taken: {error}") from None

    def fetch(self, update: Update, folder: Path, have: Mapping[str, Path], stop: threading.Event) -> None:
        """Get the files of a package into a folder, synced. Raises Unavailable where the network breaks for long."""
        packages = [content.package for content in self._state.slots.values()]
        fetcher = Fetcher(self.link, folder, stop=stop.is_set)
        before = self._fetchers[1] if self._fetchers[0] == update.index else []
        self._fetchers = update.index, [*before, fetcher]
        fetcher.fetch(update.files, self._planned(update, packages, stop), have)

    def _planned(self, update: Update, packages: list[str], stop: threading.Event) -> TransferPlan:
        """The plan, for which a platform takes a while if this is the first device that asks for it."""
        for _ in range(PLANNING):
            with contextlib.suppress(Unavailable):
                return self.link.plan(update.package, packages)
            if stop.wait(EACH):
                break
        return self.link.plan(update.package, packages)

    def assemble(self, update: Update, folder: Path, into: Path, have: Mapping[str, Path]) -> None:
        """Write the files of a package into a folder."""
        Fetcher(self.link, folder).assemble(update.files, into, have)

    def notice(self, state: State, event: Event) -> None:
        """Keep an event until it was reported."""
        content, clock = event.content, self.clock
        index, package = (content.index, content.package) if content else (0, "")
        device = DeviceEvent(
            at=clock.wall(),
            boot=clock.boot,
            after=clock.after(),
            kind=event.kind,
            index=index,
            package=package,
            detail=event.detail[:2000],
        )
        self.spool.put("events", [device])
        self._due.set()

    def changed(self, state: State) -> None:
        """The state is another one; a phase that ends is told of soon."""
        before, self._state = self._state, state
        if before.phase != state.phase:
            self._due.set()

    def looked(self, quality: Quality) -> None:
        """A look at a trial: what is told of both slots then, so that like is held against like."""
        with self._lock:
            self._looks = summed(self._looks, quality)

    def start(self, want: Callable[[Desired], None]) -> None:
        """Begin to wait for what the platform wants, and to report."""
        for name, run in (("desired", lambda: self._listen(want)), ("report", self._report)):
            threading.Thread(target=run, name=name, daemon=True).start()

    def stop(self, seconds: float = 2.0) -> None:
        """Report once more, if that is possible within so many seconds."""
        self._ended.set()
        self._due.set()
        last = threading.Thread(target=self._send, daemon=True)
        last.start()
        last.join(seconds)

    def _listen(self, want: Callable[[Desired], None]) -> None:
        revision, failed = "", 0
        while not self._ended.is_set():
            began = time.monotonic()
            try:
                desired = self.link.desired(revision, WAIT)
            except NETWORK as error:
                failed += 1
                if str(error) != self.trouble:
                    log.warning("%s; what serves goes on, and it is tried again", error)
                self.trouble = str(error)
                self._pause(failed)
                continue
            if self.trouble:
                log.info("the platform is reached again")
            self.trouble, failed = "", 0
            early = desired.revision == revision and time.monotonic() - began < min(desired.poll, WAIT)
            revision = desired.revision
            want(desired)
            if early:
                self._ended.wait(min(desired.poll, LONGEST) * (0.5 + self._chance() / 2))

    def _pause(self, failed: int) -> None:
        """After a failure, for a time that doubles."""
        self._ended.wait(min(2.0 ** min(failed, 20), LONGEST) * (0.5 + self._chance() / 2))

    def _report(self) -> None:
        failed = 0
        while not self._ended.is_set():
            self._due.wait(REPORT)
            self._due.clear()
            if self._ended.is_set():
                return
            if self._send():
                failed = 0
                self._ended.wait(1.0)
            else:
                failed += 1
                self._pause(failed)

    def _send(self) -> bool:
        """Report until nothing waits. Whether the platform has it."""
        state = self._state
        index = state.target.index if state.target else state.floor
        fetched = [each.counts for each in self._fetchers[1]] if self._fetchers[0] == index else []
        with self._lock:
            alone, looks, self._looks = Quality(stable=self._stable()), self._looks, Quality()
            self._counted = summed(self._counted, looks if looks != Quality() else alone)
        present = AgentReport(
            number=0,
            boot=self.clock.boot,
            phase="stopped" if self._ended.is_set() else state.phase,
            index=index,
            committed=state.content.package if state.content else "",
            candidate=state.target.package if state.target else "",
            quality=self._counted,
            sent=sum(each.sent for each in fetched),
            again=sum(each.again for each in fetched),
        )
        try:
            while True:
                fresh = not self.spool.pending
                report = self.spool.report(present)
                if fresh:
                    self._counted, present = Quality(), msgspec.structs.replace(present, quality=Quality())
                if not self.spool.acknowledged(self.link.report(report).number):
                    return False
                if fresh and not self.spool.waiting:
                    return True
        except NETWORK:
            return False
