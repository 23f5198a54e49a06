"""Fleets of devices for the pages of the console."""

import hashlib

import msgspec

from argosy.edge.wire import Envelope, Update, UpdateFile
from argosy.store.devices import DEVICES, Device
from argosy.store.fleets import Assignment, Deployment, Fleet
from argosy.store.ledger import Cause
from argosy.store.store import Store


def fleets(store: Store, now: float, hostile: str) -> None:
    """One in the middle of a deployment that goes wrong here and there, one with more devices than cells, one empty."""
    cause, package = Cause(actor="ann"), "sha256:" + "ab" * 32
    for name, count in (("factory", 60), ("ships", 3000), ("nothing", 0)):
        store.fleets.create(Fleet(name=name, created=now), cause)
        if not count:
            continue
        for number, state in ((1, "done"), (2, "running")):
            update = Update(
                fleet=name,
                index=number,
                ref=f"digits:{number}",
                package=package,
                files=(UpdateFile(path="model.onnx", size=1_000_000, sha256="ab" * 32),),
                manifest={},
            )
            envelope = Envelope(payload=msgspec.json.encode(update), signature=b"", key="")
            deployment = Deployment(
                fleet=name,
                number=number,
                ref=f"digits:{number}",
                package=package,
                envelope=msgspec.json.encode(envelope),
                state=state,
                why=hostile,
                created=now - 3600 / number,
                changed=now,
                actor="ann",
            )
            store.fleets.deploy(deployment, cause)
        with store.database.begin() as connection:
            DEVICES.add(connection, [_device(name, at, now, hostile) for at in range(count)])
        store.fleets.assign([_assignment(name, at, now, hostile) for at in range(count)])


def _device(fleet: str, at: int, now: float, hostile: str) -> Device:
    return Device(
        id=f"{fleet}-{at:04}",
        fleet=fleet,
        public_key="",
        fingerprint=hashlib.sha256(f"{fleet}{at}".encode()).hexdigest(),
        created=now - 86400,
        seen=now - (7200 if at % 20 == 3 else 5),
        state="suspended" if at == 7 else "active",
        why=hostile if at == 7 else "",
        index=2 if at < 12 else 1,
    )


def _assignment(fleet: str, at: int, now: float, hostile: str) -> Assignment:
    states = ("committed", "trial", "working", "offered", "rolled_back", "refused", "left_out")
    state = "committed" if at < 10 else states[at % 7]
    reasons = {"rolled_back": hostile, "refused": "the disk is full", "left_out": "it is an armv7l"}
    return Assignment(
        device=f"{fleet}-{at:04}",
        deployment=2,
        fleet=fleet,
        wave=0 if at < 10 else 1,
        state=state,
        reason=reasons.get(state, ""),
        offered=now - 60,
        changed=now,
        compared=100,
        agreed=97,
        sent=120_000,
        again=1000,
    )
