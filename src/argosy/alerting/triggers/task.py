"""The task of a platform that looks whether triggers fire, and does what they say."""

import asyncio
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping

import msgspec

from argosy.alerting.allowed import Allowed
from argosy.alerting.incident import Finding
from argosy.alerting.send import post, signed
from argosy.alerting.triggers import command, policy, runner
from argosy.alerting.triggers.check import check_run
from argosy.alerting.triggers.document import document, run_id
from argosy.process.process import Process
from argosy.spec.alerts import Webhook
from argosy.spec.errors import ArgosyError, InvalidArgument, PermissionDenied, Unavailable
from argosy.spec.settings import Home
from argosy.spec.trigger import Command, Trigger
from argosy.store import findings, triggers
from argosy.store.database import Database
from argosy.store.endpoints import Declared, Endpoints
from argosy.store.triggers import Run

LOG = logging.getLogger(__name__)

EVERY = 2.0
"""Seconds between two looks."""
STARTS = 3
"""How often a command is started that goes without having ended, before it counts as failed."""
GRACE = 60.0
"""Seconds past its timeout after which a command of which nothing is heard counts as failed."""
FIRST, LONGEST, GIVE_UP = 2.0, 300.0, 86400.0
"""Seconds: the first wait after a webhook that failed, which doubles; the longest; after how long it is given up."""
HOUSEKEEPING = 3600.0

Report = Callable[[str, str, Iterable[Finding]], None]


class Triggers:
    """`store` is the object store of payloads, as documents tell it; `report` takes what is wrong with an endpoint
    (`Incidents.report`); `allowed` says what triggers may call and tell; `clock` gives seconds since 1970."""

    def __init__(
        self,
        home: Home,
        state: Endpoints,
        report: Report,
        *,
        store: str = "",
        allowed: Allowed | None = None,
        environ: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._home, self._state, self._report, self._store = home, state, report, store
        self._environ, self._clock, self._allowed = environ, clock, allowed or Allowed()
        self._database: Database = state.database.create()
        self._started: dict[str, Process] = {}
        self._told: set[str] = set()
        self._cleaned = 0.0

    async def run(self) -> None:
        """Look and act every two seconds, until cancelled."""
        while True:
            try:
                await asyncio.to_thread(self.look)
                await self.act()
            except ArgosyError as error:
                LOG.warning("triggers are looked at again in a moment: %s", error.message)
            except Exception:
                LOG.exception("triggers are looked at again in a moment")
            await asyncio.sleep(EVERY)

    def look(self) -> None:
        """Let every declared trigger see what was found since, and note those that fire. Raises Unavailable,
        StorageFull, Conflict."""
        declared = {each.endpoint.name: each for each in self._state.endpoints() if each.endpoint.triggers}
        states = policy.STATES.all(self._database)
        names = {(name, one.name) for name, each in declared.items() for one in each.endpoint.triggers}
        if gone := states.keys() - names:
            with self._database.begin() as connection:
                for endpoint, name in gone:
                    policy.STATES.delete(connection, endpoint, name)
        busy = {(run.endpoint, run.trigger) for run in triggers.going(self._database)}
        revisions = self._state.revisions()
        for name, each in declared.items():
            if serving := revisions.get(each.serving.active or ""):
                for one in each.endpoint.triggers:
                    self._one(each, one, serving.version, states.get((name, one.name)), busy=(name, one.name) in busy)
        if self._clock() - self._cleaned >= HOUSEKEEPING:
            self._clean()

    def _one(
        self, declared: Declared, one: Trigger, version: str, state: policy.TriggerState | None, *, busy: bool
    ) -> None:
        name, now = declared.endpoint.name, self._clock()
        before = state or policy.TriggerState(until=now)
        found = findings.read(self._database, name, ("realised", "estimate"), before.until)
        fired, after = policy.look(one, found, version, now, before, busy=busy)
        if fired is not None:
            told = msgspec.json.encode(document(self._home, self._store, declared.endpoint, one, fired)).decode()
            run = Run(
                id=run_id(name, one.name, fired),
                endpoint=name,
                trigger=one.name,
                version=version,
                at=now,
                reason=fired.reason,
                document=told,
                due=now,
            )
            with self._database.begin() as connection:
                policy.STATES.put(connection, name, after, one.name)
                triggers.note(connection, run)
            LOG.info("trigger %s: %s", run.id, run.reason)
        elif after != state:
            with self._database.begin() as connection:
                policy.STATES.put(connection, name, after, one.name)

    def _clean(self) -> None:
        for each in triggers.forget(self._database, self._clock()):
            shutil.rmtree(command.folder(self._home, each), ignore_errors=True)
        self._cleaned = self._clock()

    async def act(self) -> None:
        """Bring on every run that is not over. Never raises for what a command or webhook does."""
        going = await asyncio.to_thread(triggers.going, self._database)
        declared = {each.endpoint.name: each for each in await asyncio.to_thread(self._state.endpoints)}
        await asyncio.gather(*(self._advance(run, _declared(declared, run)) for run in going))
        await asyncio.to_thread(self._tell, declared)
        self._started = {name: each for name, each in self._started.items() if not each.ended()}

    async def _advance(self, run: Run, one: Trigger | None) -> None:
        what = one.run if one else None
        if isinstance(what, Webhook) and run.phase == "due":
            after = await self._post(run, what) if run.due <= self._clock() else run
        else:
            after = await asyncio.to_thread(self._command, run, what if isinstance(what, Command) else None)
        if after != run:
            await asyncio.to_thread(triggers.update, self._database, after)
        if after.over:
            LOG.info("trigger %s: %s%s", run.id, after.phase, f": {after.error}" if after.error else "")

    def _command(self, run: Run, what: Command | None) -> Run:
        """One that runs goes on, whatever is declared meanwhile; one that does not is started by what is declared."""
        now, process = self._clock(), self._started.get(run.id)
        if (end := runner.ended(command.folder(self._home, run.id))) is not None:
            phase = "failed" if end.error else "done"
            return msgspec.structs.replace(run, phase=phase, status=end.status, ended=end.at, error=end.error)
        if command.alive(self._home, run, process):
            lost = what is not None and run.phase == "running" and now > run.due + what.timeout + GRACE
            return self._failed(run, "nothing is heard of its end") if lost else run
        if what is None:
            return self._failed(run, f"the trigger '{run.trigger}' is declared no more")
        if run.tries >= STARTS:
            return self._failed(run, f"it was started {run.tries} times, and gone each time before it had ended")
        return self._start(run, what)

    def _start(self, run: Run, what: Command) -> Run:
        """Written before it is done: a start that is cut short is made up for, and counts."""
        after = msgspec.structs.replace(run, phase="running", due=self._clock(), tries=run.tries + 1)
        triggers.update(self._database, after)
        try:
            check_run(what, self._allowed, self._environ, f"the trigger '{run.trigger}'")
            self._started[run.id] = command.start(self._home, run, what, self._environ)
        except (ArgosyError, OSError) as error:
            return self._failed(after, str(error))
        return after

    async def _post(self, run: Run, hook: Webhook) -> Run:
        """One try."""
        body, now = run.document.encode(), self._clock()
        tried = msgspec.structs.replace(run, tries=run.tries + 1)
        try:
            check_run(hook, self._allowed, self._environ, f"the trigger '{run.trigger}'")
            headers = signed(hook, body, self._environ) | {"Idempotency-Key": run.id}
            said = await post(hook.url, body, headers, self._environ, self._allowed)
        except (InvalidArgument, PermissionDenied) as error:
            return self._failed(tried, error.message)
        except Unavailable as error:
            if now - run.at >= GIVE_UP:
                return self._failed(tried, error.message)
            wait = min(LONGEST, FIRST * 2 ** min(run.tries, 20))
            return msgspec.structs.replace(tried, due=now + wait, error=error.message[:500])
        LOG.info("trigger %s: %s", run.id, said)
        return msgspec.structs.replace(tried, phase="done", ended=self._clock(), error="")

    def _failed(self, run: Run, error: str) -> Run:
        return msgspec.structs.replace(run, phase="failed", ended=self._clock(), error=error[:500])

    def _tell(self, declared: Mapping[str, Declared]) -> None:
        """Report triggers whose last run failed."""
        told = {name for name, each in declared.items() if each.endpoint.triggers}
        for name in told | self._told:
            wanted = {one.name for one in declared[name].endpoint.triggers} if name in declared else set[str]()
            last: dict[str, Run] = {}
            for run in reversed(triggers.read(self._database, name)):
                if run.trigger in wanted and run.over:
                    last[run.trigger] = run
            self._report("triggers", name, [_problem(run) for run in last.values() if run.phase == "failed"])
        self._told = told


def _problem(run: Run) -> Finding:
    return Finding(
        endpoint=run.endpoint,
        kind="trigger",
        subject=run.trigger,
        severity="ticket",
        title=f"the trigger '{run.trigger}' failed",
        reason=f"it fired, as {run.reason}; what it runs failed: {run.error}",
    )


def _declared(declared: Mapping[str, Declared], run: Run) -> Trigger | None:
    found = declared[run.endpoint].endpoint.triggers if run.endpoint in declared else ()
    return next((one for one in found if one.name == run.trigger), None)
