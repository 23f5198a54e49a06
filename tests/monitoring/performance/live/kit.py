"""A log of what the model was asked and answered, labels of it, and evaluations of both."""

from pathlib import Path

import lightgbm
import msgspec
import numpy as np
import pandas as pd

from argosy.monitoring.feedback import intake
from argosy.monitoring.feedback.event import Label, accept
from argosy.monitoring.feedback.folder import LabelFolder
from argosy.monitoring.performance.evaluate import evaluate
from argosy.monitoring.performance.reference import pinned
from argosy.monitoring.performance.state import Evaluated, EvaluationJob, PerformanceState, Version
from argosy.packaging.package import Package
from argosy.spec.endpoint import Endpoint
from argosy.spec.monitor import Monitor
from argosy.spec.payload import PayloadLog
from argosy.spec.settings import Home
from argosy.store.findings import Finding
from argosy.store.payloads.columns import columns
from argosy.store.payloads.encode import Encoder
from argosy.store.payloads.record import REQUEST, Rows
from argosy.store.payloads.segment import write
from argosy.store.version import Version as Pushed

HOUR = 3600
START = 1_767_225_600
"""2026-01-01 00:00 UTC."""
LOG = PayloadLog()


def answers(package: Package, rows: pd.DataFrame) -> np.ndarray:
    """What the model says of rows."""
    return np.asarray(lightgbm.Booster(model_file=package.weights).predict(rows[["age", "income"]]))


def record(
    home: Home,
    package: Package,
    rows: pd.DataFrame,
    at: float,
    *,
    version: str = "1",
    probability: np.ndarray | None = None,
    name: str = "r",
) -> list[str]:
    """Log rows as requests of one row each, spread over half an hour from `at` seconds after START; their ids."""
    signature = package.manifest.signature
    facts = np.zeros(len(rows), REQUEST)
    facts["time"] = ((START + at + np.linspace(0, HOUR / 2, len(rows), endpoint=False)) * 1e9).astype(np.int64)
    facts["rows"], facts["code"], facts["weight"] = 1, 200, 1.0
    ids = [f"{name}-{at:g}-{place}" for place in range(len(rows))]
    found = answers(package, rows) if probability is None else probability
    inputs = {signature.inputs[0].name: rows[["age", "income"]].to_numpy("f8")}
    made = Rows(requests=facts, ids=ids, inputs=inputs, outputs={signature.outputs[0].name: found})
    write(home.payloads, "shop", version, [Encoder(columns=columns(signature, LOG), replica="r").table(made)])
    return ids


def tell(home: Home, ids: list[str], truth: object, at: float) -> None:
    """Send labels, known `at` seconds after START."""
    labels = [Label(request_id=i, label=int(v), time=START + at) for i, v in zip(ids, truth, strict=True)]
    taken = accept(labels, START + at)
    assert taken.refused == ()
    intake.append(LabelFolder(home.feedback, "shop").create(), taken.labels)


class Watch:
    """Evaluations one after the other, with the state between them as the platform stores it."""

    def __init__(
        self, home: Home, package: Package, version: Pushed, reference: Path | None, **monitor: object
    ) -> None:
        given = {"label": "bought", "reference": str(reference)} if reference else {}
        declared = Endpoint(name="shop", model="shop:1", payload=LOG, monitor=msgspec.convert(given | monitor, Monitor))
        monitor_ = pinned(declared).monitor
        assert monitor_ is not None
        self.home, self.package, self.version, self.monitor = home, package, version, monitor_
        self.states: dict[str, PerformanceState] = {}

    def job(self, at: float, versions: tuple[str, ...] = ("1",)) -> EvaluationJob:
        """An evaluation at so many seconds after START."""
        every, now = self.monitor.every, START + at
        return EvaluationJob(
            home=str(self.home.root),
            endpoint="shop",
            monitor=self.monitor,
            log=LOG,
            now=now,
            end=float(now // every * every),
            versions=tuple(
                Version(
                    number=number,
                    digest=self.version.digest,
                    package=str(self.package.folder),
                    state=self.states.get(number, PerformanceState()),
                )
                for number in versions
            ),
        )

    def evaluate(self, at: float, versions: tuple[str, ...] = ("1",)) -> Evaluated:
        """Evaluate, and store the states."""
        done = evaluate(self.job(at, versions))
        self.states |= done.states
        return done


def of(done: Evaluated, kind: str, subject: str, hour: float | None = None) -> list[Finding]:
    """The findings of a kind and metric, of one hour or of all."""
    found = [each for each in done.findings if (each.kind, each.subject) == (kind, subject)]
    return [each for each in found if hour is None or each.window_start == START + hour * HOUR]
