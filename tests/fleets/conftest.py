"""A store with a package, and a fleet with devices under a clock of the test."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from argosy.alerting.incident import Finding
from argosy.fleets import update
from argosy.fleets.controller import Deployments
from argosy.spec.fleet import Deployment
from argosy.spec.settings import Home, Settings
from argosy.spec.signing import Signatures
from argosy.store import fleets, open_store
from argosy.store.devices import Device, hashed
from argosy.store.fleets import AssignmentState, Fleet, Reported
from argosy.store.ledger import Cause
from argosy.store.store import Store
from tests.store.samples import FILES, model_lineage, model_manifest, write_folder

CAUSE = Cause(actor="ann", reason="it is time")
FACTS = {"machine": "x86_64", "onnxruntime": "1.24.1", "memory": 2**30, "disk": 2**30}


class Cars:
    """The fleet `cars` and its deployments. `told` are incidents."""

    def __init__(self, store: Store) -> None:
        self.store, self.now = store, 1_800_000_000.0
        self.told: dict[str, list[Finding]] = {}
        store.fleets.create(Fleet(name="cars", created=self.now), CAUSE)
        self.start()

    def start(self) -> None:
        """As after a restart of the platform."""
        self.deployments = Deployments(self.store.fleets, self._tell, lambda: self.now)

    def _tell(self, source: str, endpoint: str, found: Iterable[Finding]) -> None:
        self.told[endpoint] = list(found)

    def enrol(self, *names: str, labels: dict[str, str] | None = None, **facts: object) -> None:
        token = self.store.fleets.devices.make_token(
            "cars", uses=len(names), now=self.now, seconds=60, labels=labels or {}, cause=CAUSE
        )
        for name in names:
            device = Device(
                id=name,
                fleet="cars",
                public_key=name,
                fingerprint=hashed(name),
                created=self.now,
                seen=self.now,
                facts={**FACTS, **facts},
            )
            self.store.fleets.devices.enrol(device, token=token, now=self.now)

    async def deploy(self, **fields: object) -> int:
        declared = msgspec.convert({"fleet": "cars", "model": "digits:1", "waves": WAVES, **fields}, Deployment)
        store, of = self.store, self.store.fleets.get("cars")
        number = store.fleets.next_number("cars")
        found = update.update(store, Signatures(), of, declared, store.registry.resolve(declared.model), number)
        made = fleets.Deployment(
            fleet="cars",
            number=number,
            ref=found.ref,
            package=found.package,
            envelope=update.sealed(store, of, found),
            declaration=msgspec.to_builtins(declared),
            created=self.now,
            changed=self.now,
        )
        await self.deployments.deploy(made, CAUSE)
        return number

    async def passes(self, seconds: float, *away: str) -> None:
        """About as many seconds, in which all devices but those `away` are heard."""
        for _ in range(max(1, int(seconds / 25))):
            self.now += 25
            names = [each.id for each in self.store.fleets.devices.of_fleet("cars") if each.id not in away]
            self.store.fleets.devices.note_seen(dict.fromkeys(names, self.now))
            await self.deployments.step()

    def having(self, number: int) -> dict[str, str]:
        """Devices that have a deployment, and its state on each."""
        return {each.device: each.state for each in self.store.fleets.assignments("cars", number)}

    def report(
        self, number: int, state: AssignmentState, *names: str, cells: dict[str, Any] | None = None, **counts: int
    ) -> None:
        """What became of a deployment on these devices, all that have it without names."""
        names = names or tuple(self.having(number))
        devices = {each.id: each for each in self.store.fleets.devices.of_fleet("cars")}
        self.store.fleets.report(
            [
                Reported(
                    device=name,
                    session=devices[name].session,
                    number=devices[name].report + 1,
                    phase="idle",
                    index=number,
                    counts=counts,
                    outcomes=((number, state, "as the test says"),),
                    **(cells or {}),
                )
                for name in names
            ],
            self.now,
        )

    def state(self, number: int) -> str:
        return self.store.fleets.deployment("cars", number).state


WAVES = [{"devices": 2}, {"share": 0.5}, {}]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(Home(tmp_path / "home"), Settings())
    for weights in (b"one", b"two"):
        files = {path: data for path, data in FILES.items() if path != "profile.json"}
        folder = write_folder(tmp_path / weights.decode(), {**files, "weights/model.onnx": weights})
        store.add(folder, name="digits", manifest=model_manifest(), lineage=model_lineage())
    yield store
    store.close()


@pytest.fixture
def cars(store: Store) -> Cars:
    return Cars(store)
