"""A store with a fleet whose devices run the shop's model, on a clock of its own."""

import hashlib
from pathlib import Path
from typing import Any

import msgspec

from argosy.alerting.incidents import Incidents
from argosy.edge.wire import AgentReport
from argosy.monitoring.devices.intake import DeviceIntake
from argosy.packaging.package import open_package
from argosy.profiles.layout import layout
from argosy.spec.settings import Home, Settings
from argosy.store import alerts, open_store
from argosy.store.alerts import Alert
from argosy.store.devices import DEVICES, Device
from argosy.store.fleets import Deployment, Fleet
from argosy.store.ledger import Cause
from argosy.store.streams import names
from argosy_edge.clock import Clock
from argosy_edge.profile import Profiler
from tests.monitoring.recorder import shop

START = 1_767_225_600.0
CAUSE = Cause(actor="ann")


class World:
    def __init__(self, root: Path, **declared: Any) -> None:
        self.now = START
        self.home = Home(root / "h").create()
        self.store = open_store(self.home, Settings())
        self.digest = shop.push(self.store, root / "package").digest
        package = open_package(root / "package")
        profile = package.profile()
        assert profile is not None
        self.layout = layout(profile, package.manifest.signature)
        self.store.fleets.create(Fleet(name="tills", created=START), CAUSE)
        deployment = Deployment(
            fleet="tills",
            number=self.store.fleets.next_number("tills"),
            ref="shop:1",
            package=self.digest,
            envelope=b"",
            declaration=declared,
            created=START,
            changed=START,
        )
        self.store.fleets.deploy(deployment, CAUSE)
        self.intake = DeviceIntake(self.store, lambda: self.now)
        self.incidents = Incidents(self.store.database, {}, lambda: names(self.store), clock=lambda: self.now)

    def device(self, name: str = "till-1", **fields: Any) -> Device:
        """A device that runs the deployment."""
        known = {"seen": self.now, "created": START - 86400.0, "index": 1}
        fingerprint = hashlib.sha256(name.encode()).hexdigest()
        one = Device(id=name, fleet="tills", public_key="", fingerprint=fingerprint, **(known | fields))
        with self.store.database.begin() as connection:
            DEVICES.add(connection, [one])
        return one

    def counted(self, rows: Any, at: float | None = None) -> dict[str, Any]:
        """The profile of rows as a device reports it."""
        clock = Clock(Path("/nowhere"), 1, lambda: at or self.now, lambda: 0.0)
        profiler = Profiler(clock)
        profiler.watch(self.digest, msgspec.json.decode(msgspec.json.encode(self.layout.columns)))
        profiler.add(self.digest, rows, shop.answers(rows))
        (one,) = profiler.take(whole=False)
        return msgspec.json.decode(msgspec.json.encode(one.of(clock)))

    def report(self, device: Device, *profiles: Any, payloads: Any = ()) -> None:
        report = AgentReport(number=1, boot=1, phase="idle", profiles=profiles, payloads=tuple(payloads))
        self.intake.take(device, report, self.now)

    def alerts(self) -> list[Alert]:
        """As they are once what is reported has been taken in."""
        self.incidents.turn()
        return alerts.read(self.store.database)
