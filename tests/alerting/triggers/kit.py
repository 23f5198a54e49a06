"""An endpoint with triggers, what is found of it, and a clock: everything but a platform."""

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from argosy.alerting.incident import Finding as Problem
from argosy.alerting.triggers import command as commands
from argosy.alerting.triggers.task import Triggers
from argosy.control.revision import revision_of
from argosy.control.state import State
from argosy.spec.endpoint import Endpoint
from argosy.spec.monitor import Monitor
from argosy.spec.payload import PayloadLog
from argosy.spec.settings import Home, Settings
from argosy.spec.trigger import Command, RealisedDrop, Trigger
from argosy.store import findings, open_store, triggers
from argosy.store.endpoints import Serving
from argosy.store.findings import Finding
from argosy.store.triggers import Run
from tests.control.served import serve
from tests.monitoring.recorder import shop


def command(code: str, **fields) -> Command:
    """Python code as a command."""
    return Command(argv=(sys.executable, "-c", code), **fields)


def drop(run, **fields) -> RealisedDrop:
    """A trigger that fires at the first bad window."""
    return RealisedDrop(**{"name": "retrain", "metric": "auroc", "run": run, "cooldown": 0.0} | fields)


class World:
    """`now` is the time of its clock; every window is ten seconds long."""

    def __init__(self, root: Path, *declared: Trigger, environ: dict[str, str] | None = None) -> None:
        self.home = Home(root / "h").create()
        self.store = open_store(self.home, Settings())
        self.database = self.store.database
        self.state = State(self.database)
        self.now, self.windows = 1_000_000.0, 0
        self.environ = environ or {}
        self.problems: dict[str, list[Problem]] = {}
        if self.state.endpoint("shop") is None:
            self.version = shop.push(self.store, root / "package")
            self.declare(*declared)
        self.triggers = self.fresh()

    def declare(self, *declared: Trigger) -> None:
        endpoint = Endpoint(
            name="shop",
            model="shop:1",
            payload=PayloadLog(),
            monitor=Monitor(reference="/data/labelled.parquet"),
            triggers=declared,
        )
        revision = revision_of(endpoint, self.version)
        self.state.declare(endpoint, revision)
        serve(self.state, "shop", Serving(active=revision.id))

    def fresh(self) -> Triggers:
        """As after a restart of the controller."""

        def report(source: str, endpoint: str, found) -> None:
            assert source == "triggers"
            self.problems[endpoint] = list(found)

        return Triggers(self.home, self.state, report, store="s3://b/p", environ=self.environ, clock=lambda: self.now)

    def find(self, value: float = 0.6, **detail) -> None:
        """One more window with a realised AUROC, against 0.8 on the reference."""
        self.windows += 1
        self.now += 10
        told = Finding(
            endpoint="shop",
            version="1",
            kind="realised",
            subject="auroc",
            at=self.now,
            window_start=self.now - 10,
            window_end=self.now,
            rows=2000,
            effect=value,
            low=value - 0.02,
            high=value + 0.02,
            detail={"reference": 0.8, "maturity": 1.0} | detail,
        )
        findings.write(self.database, [told])

    def turn(self) -> None:
        """Look once and act once."""
        self.triggers.evaluate()
        asyncio.run(self.triggers.act())

    def until(self, good: Callable[[Run], bool], seconds: float = 60.0) -> Run:
        """Act until the last run is so."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            asyncio.run(self.triggers.act())
            if (runs := self.runs()) and good(runs[0]):
                return runs[0]
            time.sleep(0.02)
        raise AssertionError(self.runs())

    def runs(self) -> list[Run]:
        """Newest first."""
        return triggers.read(self.database, "shop")

    def folder(self, run: Run) -> Path:
        return self.home.root / "triggers" / run.id

    def document(self, run: Run):
        return msgspec.json.decode(run.document)

    def close(self) -> None:
        commands.end(self.home)
        self.store.close()
