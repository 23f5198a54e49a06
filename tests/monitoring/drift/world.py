"""A store with a model that is looked at, on a clock of its own, and hours of requests to it."""

from pathlib import Path
from typing import Any

import numpy as np

from argosy.alerting.incidents import Incidents
from argosy.control.revision import revision_of
from argosy.control.state import State
from argosy.monitoring.drift.monitor import LATE, DriftMonitor
from argosy.packaging.package import open_package
from argosy.profiles import files
from argosy.profiles.layout import layout
from argosy.profiles.recorder import Recorder
from argosy.spec.endpoint import Endpoint
from argosy.spec.monitor import Monitor
from argosy.spec.payload import PayloadLog
from argosy.spec.settings import Home, Settings
from argosy.spec.tensor import Array
from argosy.store import alerts, findings, open_store
from argosy.store.alerts import Alert
from argosy.store.payloads import segment
from argosy.store.payloads.columns import columns
from argosy.store.payloads.encode import Encoder
from argosy.store.payloads.record import REQUEST, Rows
from tests.monitoring.recorder import shop

START = 1_767_225_600.0
EVERY = 3600


class World:
    """A store with the shop declared, and hours of requests."""

    def __init__(self, root: Path, start: float = START) -> None:
        self.start = start
        self.log: PayloadLog | None = None
        self.home = Home(root / "h").create()
        self.store = open_store(self.home, Settings())
        self.state = State(self.store.database)
        version = self.version = shop.push(self.store, root / "package")
        endpoint = Endpoint(name="shop", model="shop:1")
        self.state.declare(endpoint, revision_of(endpoint, version))
        package = open_package(root / "package")
        profile = package.profile()
        assert profile is not None
        self.layout = layout(profile, package.manifest.signature)
        self.now, self.hour = start, 0
        self.monitor = self.fresh()

    def fresh(self) -> DriftMonitor:
        """As after a restart of the controller."""
        self.incidents = Incidents(self.store.database, {}, self.state.names, clock=lambda: self.now)
        return DriftMonitor(self.store, self.state, self.incidents.report, EVERY, clock=lambda: self.now)

    def alerts(self) -> list[Alert]:
        """As they are once what is reported has been taken in."""
        self.incidents.turn()
        return alerts.read(self.store.database)

    def declare(self, payload: PayloadLog | None = None, replicas: int = 1, **monitor: Any) -> None:
        """Declare how drift is looked for, and what is recorded."""
        endpoint = Endpoint(name="shop", model="shop:1", replicas=replicas, monitor=Monitor(**monitor), payload=payload)
        self.log = payload
        self.state.declare(endpoint, revision_of(endpoint, self.version))

    def record(self, rows: dict[str, Array], at: float) -> None:
        """Write rows to the payload log, as if each had been a request, a second apart."""
        n = len(rows["x"])
        requests = np.zeros(n, REQUEST)
        requests["time"] = (at + np.arange(n)) * 1e9
        requests["weight"], requests["rows"], requests["code"] = 1, 1, 200
        encoder = Encoder(columns=columns(shop.SIGNATURE, self.log or PayloadLog()), replica="r0", secret=b"k" * 32)
        ids = [f"{at:.0f}-{place}" for place in range(n)]
        came = Rows(requests=requests, ids=ids, inputs=rows, outputs=shop.answers(rows))
        segment.write(self.home.payloads, "shop", "1", [encoder.table(came)])

    def pass_hour(
        self, older: float = 0.0, n: int = 300, richer: float = 0.0, mixed: bool = False, look: bool = True
    ) -> None:
        """One more hour of requests by people who are older than those of the sample, those above 40 richer, and a
        look at it. `mixed`: the income follows the age, and both are distributed as before."""
        recorder = Recorder(self.layout, "1", ("label",))
        rows = shop.rows(n, seed=100 + self.hour)
        rows["x"][rows["x"][:, 0] > 40, 1] += richer
        rows["x"][:, 0] += older
        if mixed:
            within = np.random.default_rng(self.hour).random(n)
            rows["x"][:, 1] = (rows["x"][:, 0] - 18 + within) / 62 * 90_000
        if self.log is not None:
            self.record(rows, self.start + self.hour * EVERY + 60)
        recorder.add(self.start + self.hour * EVERY + 60, rows, shop.answers(rows))
        self.hour += 1
        self.now = self.start + self.hour * EVERY + LATE + 1
        files.write(self.home.profiles, "shop", recorder.take(self.now))
        if look:
            self.monitor.turn()

    def verdicts(self) -> dict[str, str]:
        """Of the last window."""
        found = findings.read(self.store.database, "shop", ["drift", "prediction"], 0)
        return {one.subject: one.verdict for one in found if one.window_end == self.start + self.hour * EVERY}
