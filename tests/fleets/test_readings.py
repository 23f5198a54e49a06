"""What is read of a fleet, from every kind of database."""

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from argosy.edge import statement, wire
from argosy.fleets.readings import Readings
from argosy.fleets.waves import WaveState
from argosy.spec.fleet import Deployment as Declared
from argosy.spec.fleet import Wave
from argosy.store.database import Database
from argosy.store.devices import DEVICES, Device, Devices, hashed
from argosy.store.fleets import Assignment, Deployment, Fleet, Fleets
from argosy.store.ledger import Cause

NOW = 1_800_000_000.0


def test_every_reading(database: Database) -> None:
    fleets = Fleets(Devices(database))
    fleets.create(Fleet(name="cars", created=NOW), Cause())
    seen = {"well": NOW, "silent": NOW - 2000, "quiet": NOW - 200, "new": NOW, "gone": NOW - 2000}
    with database.begin() as connection:
        DEVICES.add(
            connection,
            [
                Device(id=name, fleet="cars", public_key=name, fingerprint=hashed(name), created=NOW, seen=at)
                for name, at in seen.items()
            ],
        )
    declared = Declared(fleet="cars", model="m:1", waves=(Wave(),))
    update = wire.Update(fleet="cars", index=1, ref="m:1", package="sha256:" + "0" * 64, files=(), manifest={})
    envelope = msgspec.json.encode(statement.seal(update, ec.generate_private_key(ec.SECP256R1())))
    made = Deployment(
        fleet="cars",
        number=1,
        ref="m:1",
        package=update.package,
        envelope=envelope,
        declaration=msgspec.to_builtins(declared),
        created=NOW,
        changed=NOW,
    )
    fleets.deploy(made, Cause())
    fleets.assign(
        [
            Assignment(device=name, deployment=1, fleet="cars", offered=NOW - 3000, changed=NOW, candidate_requests=3)
            for name in ("well", "silent", "quiet")
        ]
    )
    readings = Readings(fleets, lambda: NOW)
    found = readings.observe(made, WaveState())
    assert (found.matching, found.assigned, found.begun, found.failed, found.silent) == (5, 3, 3, 1, 1)
    assert (found.quiet, found.offline, found.others, found.away) == (1, 1, 2, 1)
    assert readings.free(made, 0) == ["new"]
