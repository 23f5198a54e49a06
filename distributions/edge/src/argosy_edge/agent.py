"""The agent's loop: what is met goes through `update.decide`, the new state to disk, and then the decision is done.

One thread decides. A second one does the step that was decided, a third one waits for what the platform wants, a fourth
one reports; whatever serves has threads of its own and goes on through all of this.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from argosy_edge.errors import AgentError, BadPackage, BadSignature, Unsupported
from argosy_edge.slots import Slots, verify
from argosy_edge.state import (
    Asked,
    Decision,
    Died,
    Ended,
    Event,
    Failed,
    Looked,
    Observation,
    Started,
    State,
    Stopping,
    Woke,
)
from argosy_edge.trial import Tally
from argosy_edge.update import decide, size
from argosy_edge.wire import Desired, Facts, Quality, Update, WireError

LOOK = 1.0
"""Seconds between two looks at a trial."""
SAVE = 30.0
"""Seconds after which the counts of a trial are written, if nothing else was."""
RETRY = 5.0
"""Seconds until a state is written again that could not be."""
ENDING = 10.0
"""Seconds that a step has to end in, when the agent ends."""


class Models(Protocol):
    """What the agent does with models (`serving.Serving`). Each may raise an AgentError or an OSError; none is called
    twice at a time but `look` and `release`."""

    def selftest(self, update: Update, folder: Path) -> object:
        """Load it in a process beside this one, and ask its golden examples within its budget. Raises BadPackage."""
        ...

    def load(self, update: Update, folder: Path) -> None:
        """Start the candidate: from now on it answers as `Update.trial` says."""
        ...

    def look(self) -> Looked | Died | None:
        """What both slots did since the last look; that the candidate's process has ended."""
        ...

    def release(self) -> bool:
        """End the candidate's process. Whether there was one, which had not ended by itself."""
        ...

    def switch(self, update: Update | None, folder: Path) -> None:
        """Serve this package, from a request to the next; None: nothing. The candidate's process ends after it."""
        ...


class Source(Protocol):
    """Where updates come from (`remote.Remote`)."""

    def open(self, desired: Desired) -> Update | None:
        """The update of a statement, verified: by a key of the fleet, and by a signer where one has to have signed.
        Raises BadSignature."""
        ...

    def fetch(self, update: Update, folder: Path, have: Mapping[str, Path], stop: threading.Event) -> None:
        """Get the files of a package into a folder, in a form of its own, synced; `have`: files of the device by their
        SHA-256. What is there already stays. Ends soon once `stop` is set."""
        ...

    def assemble(self, update: Update, folder: Path, into: Path, have: Mapping[str, Path]) -> None:
        """Write the files of a package, out of what was fetched into `folder`, and of the device's own."""
        ...


class _Work:
    """A step that is done, or is to be."""

    def __init__(self, decision: Decision, number: int) -> None:
        self.decision, self.number = decision, number
        self.stop, self.done = threading.Event(), threading.Event()


class Agent:
    """One device. `notice` is told each event, `changed` each state, `looked` each look at a trial."""

    def __init__(
        self,
        slots: Slots,
        models: Models,
        source: Source,
        *,
        facts: Facts,
        notice: Callable[[State, Event], None] = lambda state, event: None,
        changed: Callable[[State], None] = lambda state: None,
        looked: Callable[[Quality], None] = lambda quality: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.slots, self.models, self.source, self.facts = slots, models, source, facts
        self.state, trouble = slots.read()
        self._notice, self._changed, self._looked, self._monotonic = notice, changed, looked, monotonic
        self._trouble = trouble
        self._queue: queue.SimpleQueue[Desired | tuple[int, Observation] | None] = queue.SimpleQueue()
        self._desired: Desired | None = None
        self._work: _Work | None = None
        self._jobs: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._worker = threading.Thread(target=self._steps, name="steps", daemon=True)
        self._number = 0
        self._switching = self._trying = False
        self._wake: float | None = None
        self._again: Observation | None = None
        self._saved = monotonic()
        self._said = ""

    def want(self, desired: Desired) -> None:
        """What the platform wants; from any thread."""
        self._queue.put(desired)

    def stop(self) -> None:
        """End in good order; from any thread, or a signal's handler."""
        self._queue.put(None)

    def run(self) -> None:
        """Until `stop`."""
        if self._trouble:
            self._notice(self.state, Event(kind="trouble", detail=self._trouble))
        self._worker.start()
        self._next(Started())
        while (met := self._await()) is not None:
            for seen in self._meant(met):
                self._next(seen)
        healthy = self._trying
        self._end_work(ENDING)
        self._next(Stopping(self.models.release() and healthy))
        self._jobs.put(None)

    def _await(self) -> Observation | Desired | None:
        """The next thing that happens."""
        while True:
            now = self._monotonic()
            waits = [LOOK] if self._trying else []
            waits += [max(0.0, self._wake - now)] if self._wake is not None else []
            with contextlib.suppress(queue.Empty):
                met = self._queue.get(timeout=min(waits) if waits else None)
                if not isinstance(met, tuple):
                    return met
                if met[0] == self._number:
                    return met[1]
            if self._wake is not None and self._monotonic() >= self._wake:
                self._wake, again, self._again = None, self._again, None
                return again or Woke()
            if self._trying and (found := self.models.look()) is not None:
                return found

    def _meant(self, met: Observation | Desired) -> list[Observation]:
        """What the machine is told. While the slot that serves is changed, what the platform wants has to wait."""
        if isinstance(met, Desired):
            self._desired = met
            return [] if self._switching or self._again else self._asked()
        if isinstance(met, Ended | Failed):
            self._work = None
            self._switching = False
            self._trying = isinstance(met, Ended) and met.step == "load"
        elif isinstance(met, Died):
            self._trying = False
        elif isinstance(met, Looked):
            self._looked(met.quality)
        return [met]

    def _asked(self) -> list[Observation]:
        """What the platform wanted last, if that is known."""
        if self._desired is None:
            return []
        update, envelope = None, ""
        try:
            update = self.source.open(self._desired)
            envelope = self.slots.keep(self._desired.update) if self._desired.update else ""
            self._said = ""
        except (AgentError, OSError) as error:
            update = None
            self._say(error)
        return [
            Asked(
                update=update,
                envelope=envelope,
                facts=self.facts,
                space=self.slots.space(),
                spare=self.slots.size(self.state.free),
                held=self._desired.hold,
                drop=self._desired.drop,
            )
        ]

    def _say(self, error: Exception) -> None:
        """Tell once what keeps on being wrong."""
        if (said := f"{type(error).__name__} {error}") != self._said:
            self._said = said
            self._notice(self.state, Event(kind="refused" if isinstance(error, AgentError) else "trouble", detail=said))

    def _next(self, seen: Observation) -> None:
        """Decide, write, do."""
        before = self.state
        decision, state = decide(seen, before)
        if not self._written(before, state):
            if decision.step == "clear" and self._trying:
                self._trying = False
                self.models.release()
            if decision.step != "switch" or state.committed != before.committed:
                if not isinstance(seen, Asked | Looked):
                    self._wake, self._again = self._monotonic() + RETRY, seen
                return
        self.state = state
        self._changed(state)
        for event in decision.events:
            self._notice(state, event)
        self._do(decision)
        if decision.step == "wait" and state.phase == "idle" and isinstance(seen, Ended | Failed | Woke):
            for each in self._asked():
                self._next(each)

    def _written(self, before: State, state: State) -> bool:
        """Whether the state is on disk, as far as it has to be: counts of a trial alone are not written each second."""
        now = self._monotonic()
        if _core(before) == _core(state) and now - self._saved < SAVE:
            return True
        try:
            self.slots.write(state)
        except OSError as error:
            self._say(error)
            return False
        self._saved = now
        return True

    def _do(self, decision: Decision) -> None:
        """Begin what was decided."""
        if decision.step == "wait":
            if decision.seconds is not None:
                self._wake = self._monotonic() + decision.seconds
            return
        self._end_work()
        self._wake, self._trying = None, False
        if decision.step == "pause":
            return
        self._switching = decision.step == "switch"
        self._number += 1
        self._work = _Work(decision, self._number)
        self._jobs.put(self._work)

    def _end_work(self, seconds: float | None = None) -> None:
        """End the step that is done, and take no notice of how it ended."""
        if self._work is not None:
            self._work.stop.set()
            self._work.done.wait(seconds)
            self._work, self._number = None, self._number + 1

    def _steps(self) -> None:
        """One step after the other, all in one thread: a candidate's process ends with the thread that began it."""
        while (work := self._jobs.get()) is not None:
            seen = self._step(work.decision, work.stop)
            work.done.set()
            self._queue.put((work.number, seen))

    def _step(self, decision: Decision, stop: threading.Event) -> Observation:
        step = decision.step
        try:
            self._perform(decision, stop)
            return Ended(step)
        except BadSignature as error:
            return Failed(step=step, how="refused", why=error.message)
        except (BadPackage, Unsupported) as error:
            own = step in ("selftest", "load", "switch")
            return Failed(step=step, how="bad" if own else "later", why=error.message)
        except Exception as error:
            said = str(error) if isinstance(error, AgentError | OSError | WireError) else repr(error)
            return Failed(step=step, how="later", why=said)

    def _perform(self, decision: Decision, stop: threading.Event) -> None:
        slots, models, place = self.slots, self.models, decision.place
        folder = slots.folder(place)
        update = slots.update(decision.content) if decision.content else None
        match decision.step:
            case "fetch" if update:
                if slots.space() < size(update):
                    slots.clear(self.state, parts=False)
                self.source.fetch(update, slots.transfer(update), slots.files(self.state), stop)
            case "assemble" if update:
                source, parts, have = self.source, slots.transfer(update), slots.files(self.state)
                slots.fill(place, lambda into: source.assemble(update, parts, into, have))
            case "verify" if update:
                verify(folder, update)
            case "selftest" if update:
                slots.forget()
                models.selftest(update, folder)
            case "load" if update:
                verify(folder, update)
                models.load(update, folder)
            case "switch":
                update = update or slots.factory_update()
                if update:
                    verify(folder, update)
                models.switch(update, folder)
            case "clear":
                models.release()
                slots.clear(self.state)
            case _:
                raise ValueError(f"nothing to do for {decision.step}")


def _core(state: State) -> State:
    return msgspec.structs.replace(state, tally=Tally())
