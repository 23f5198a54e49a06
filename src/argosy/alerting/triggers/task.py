"""The task of a platform that evaluates triggers, and does what they say once they fire."""

import asyncio
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from argosy.alerting.allowed import Allowed
from argosy.alerting.incident import Finding as Wrong
from argosy.alerting.outbox import GIVE_UP, wait
from argosy.alerting.send import post, signed
from argosy.alerting.triggers import command, policy, runner
from argosy.alerting.triggers.check import check_run
from argosy.alerting.triggers.policy import Fired
from argosy.process.process import Process
from argosy.process.repeat import repeat
from argosy.spec.alerts import Webhook
from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import ArgosyError, InvalidArgument, PermissionDenied, Unavailable
from argosy.spec.settings import Home
from argosy.spec.trigger import Command, Trigger
from argosy.store import findings, triggers
from argosy.store.database import Database
from argosy.store.endpoints import Declared, Endpoints
from argosy.store.payloads import layout
from argosy.store.triggers import Run

LOG = logging.getLogger(__name__)

EVERY = 2.0
"""Seconds between two evaluations."""
STARTS = 3
"""How often a command is started that goes without having ended, before it counts as failed."""
GRACE = 60.0
"""Seconds past its timeout after which a command of which nothing is heard counts as failed."""
HOUSEKEEPING = 3600.0

Report = Callable[[str, str, Iterable[Wrong]], None]


def run_id(endpoint: str, trigger: str, fired: Fired) -> str:
    """One of its own for each firing, and the same however often that is worked out."""
    return f"{endpoint}/{trigger}@{fired.findings[-1].window_end:.0f}"


def document(home: Home, store: str, endpoint: Endpoint, trigger: Trigger, fired: Fired) -> dict[str, Any]:
    """The JSON of a firing. Times are ISO 8601 in UTC.

    `id` is the same whenever the same firing is sent again. `model` is the reference that the endpoint declares,
    `version` the one that served. The windows that made it fire lie between `since` and `until`; `payloads` are globs
    of the Parquet files of that time, `store` the object store that has them too, if there is one, and `labelled` is
    the command that writes them with their labels into one file.
    """
    moments = (fired.findings[0].window_start, fired.findings[-1].window_end, fired.at)
    begin, end, at = (datetime.fromtimestamp(each, UTC) for each in moments)
    since, until, now = (each.isoformat().replace("+00:00", "Z") for each in (begin, end, at))
    export = ("argosy", "feedback", "export", endpoint.name)
    segments = layout.segments(home.payloads, endpoint.name, begin, end)
    # Folders of hours rather than files: small files become large ones meanwhile.
    globs = {str((home.payloads / each.key).with_name("*.parquet")) for each in segments}
    return {
        "id": run_id(endpoint.name, trigger.name, fired),
        "endpoint": endpoint.name,
        "trigger": trigger.name,
        "when": trigger.__struct_config__.tag,
        "metric": trigger.metric,
        "model": endpoint.model,
        "version": fired.version,
        "at": now,
        "reason": fired.reason,
        "findings": fired.findings,
        "since": since,
        "until": until,
        "home": str(home.root),
        "payloads": sorted(globs),
        "store": store,
        "labelled": (*export, "--since", since, "--until", until, "--output", "labelled.parquet"),
    }


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
        self._reported: set[str] = set()
        self._cleaned = 0.0

    async def run(self) -> None:
        """Evaluate and act every two seconds, until cancelled."""

        async def work() -> None:
            await asyncio.to_thread(self.evaluate)
            await self.act()

        await repeat(work, EVERY, "the evaluation of triggers", LOG)

    def evaluate(self) -> None:
        """Evaluate every declared trigger with what was found since, and note those that fire. Raises Unavailable,
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
            for run in triggers.forget(self._database, self._clock()):
                shutil.rmtree(command.folder(self._home, run), ignore_errors=True)
            self._cleaned = self._clock()

    def _one(
        self, declared: Declared, one: Trigger, version: str, state: policy.TriggerState | None, *, busy: bool
    ) -> None:
        name, now = declared.endpoint.name, self._clock()
        before = state or policy.TriggerState(until=now)
        found = findings.read(self._database, name, ("realised", "estimate"), before.until)
        fired, after = policy.evaluate(one, found, version, now, before, busy=busy)
        if fired is None and after == state:
            return
        run: Run | None = None
        if fired is not None:
            body = msgspec.json.encode(document(self._home, self._store, declared.endpoint, one, fired)).decode()
            run = Run(
                id=run_id(name, one.name, fired),
                endpoint=name,
                trigger=one.name,
                version=version,
                at=now,
                reason=fired.reason,
                document=body,
                due=now,
            )
        with self._database.begin() as connection:
            policy.STATES.put(connection, name, after, one.name)
            if run is not None:
                triggers.note(connection, run)
        if run is not None:
            LOG.info("trigger %s: %s", run.id, run.reason)

    async def act(self) -> None:
        """Bring on every run that is not over. Never raises for what a command or webhook does."""
        going = await asyncio.to_thread(triggers.going, self._database)
        declared = {each.endpoint.name: each for each in await asyncio.to_thread(self._state.endpoints)}
        wanted = {(name, one.name): one for name, each in declared.items() for one in each.endpoint.triggers}
        await asyncio.gather(*(self._advance(run, wanted.get((run.endpoint, run.trigger))) for run in going))
        await asyncio.to_thread(self._report_failed, declared)
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
            return msgspec.structs.replace(tried, due=now + wait(run.tries), error=error.message[:500])
        LOG.info("trigger %s: %s", run.id, said)
        return msgspec.structs.replace(tried, phase="done", ended=self._clock(), error="")

    def _failed(self, run: Run, error: str) -> Run:
        return msgspec.structs.replace(run, phase="failed", ended=self._clock(), error=error[:500])

    def _report_failed(self, declared: Mapping[str, Declared]) -> None:
        """Report triggers whose last run failed."""
        names = {name for name, each in declared.items() if each.endpoint.triggers}
        for name in names | self._reported:
            wanted = {one.name for one in declared[name].endpoint.triggers} if name in declared else set[str]()
            last: dict[str, Run] = {}
            for run in reversed(triggers.read(self._database, name)):
                if run.trigger in wanted and run.over:
                    last[run.trigger] = run
            failed = [
                Wrong(
                    endpoint=run.endpoint,
                    kind="trigger",
                    subject=run.trigger,
                    severity="ticket",
                    title=f"the trigger '{run.trigger}' failed",
                    reason=f"it fired, as {run.reason}; what it runs failed: {run.error}",
                )
                for run in last.values()
                if run.phase == "failed"
            ]
            self._report("triggers", name, failed)
        self._reported = names
