"""The signed update of a package, and who cannot run it."""

import msgspec
import pytest

from argosy.edge import statement, wire
from argosy.fleets.update import check_some_fit, sealed, unfit, update
from argosy.spec.errors import BadSignature, InvalidArgument, Unsupported
from argosy.spec.fleet import Deployment, DeviceBudget, DeviceTrial
from argosy.spec.signing import Signatures
from argosy.store.fleets import Fleet
from argosy.store.store import Store
from argosy.trust.bundle import BUNDLE, sign
from argosy_edge.signed import check
from tests.fleets.conftest import FACTS
from tests.trust.conftest import Authority, make_key, pem

FLEET = Fleet(name="cars", created=0.0)
DECLARED = Deployment(
    fleet="cars", model="digits:1", trial=DeviceTrial(rows=7), budget=DeviceBudget(memory=123), payloads=0.5
)


def made(store: Store, **manifest: object) -> wire.Update:
    version = store.registry.resolve("digits:1")
    version = msgspec.structs.replace(version, manifest=msgspec.structs.replace(version.manifest, **manifest))
    return update(store, Signatures(), FLEET, DECLARED, version, 3)


def test_an_update_says_all_that_a_device_needs(store: Store) -> None:
    found = made(store)
    assert (found.fleet, found.index, found.ref) == ("cars", 3, "digits:1")
    assert (found.trial.rows, found.budget.memory, found.payloads) == (7, 123, 0.5)
    assert {each.path for each in found.files} >= {"model.yaml", "weights/model.onnx", "golden/inputs.oip"}
    assert found.manifest["signature"]["inputs"][0]["name"] == "x"
    envelope = msgspec.json.decode(sealed(store, FLEET, found), type=wire.Envelope)
    told = check(envelope, "cars", [store.fleet_keys.pem])
    assert msgspec.json.encode(told) == msgspec.json.encode(found)


def test_models_of_other_engines_are_refused(store: Store) -> None:
    with pytest.raises(Unsupported, match="digits:1 runs by sklearn, and devices have onnxruntime alone: it was not"):
        made(store, engine="sklearn")


def test_a_fleet_that_wants_signatures_gets_no_package_without_one(store: Store) -> None:
    with pytest.raises(BadSignature, match="digits:1 is not signed; argosy sign digits:1"):
        sealed(store, msgspec.structs.replace(FLEET, signers=(store.fleet_keys.pem,)), made(store))


def test_a_package_signed_by_a_signer_of_the_fleet_goes_out_as_devices_take_it(store: Store) -> None:
    found, signer, authority = made(store), make_key(), Authority()
    files = {each.path: each.sha256 for each in found.files}
    for chain, counts in (
        ((), statement.pem(signer.public_key())),
        (authority.chain("ann", signer), pem(authority.root).decode()),
    ):
        store.layout.attach(found.package, BUNDLE, sign("digits", files, signer, chain), BUNDLE)
        fleet = msgspec.structs.replace(FLEET, signers=(counts,))
        envelope = msgspec.json.decode(sealed(store, fleet, found), type=wire.Envelope)
        assert check(envelope, "cars", [store.fleet_keys.pem], fleet.signers).package == found.package
    other = msgspec.structs.replace(FLEET, signers=(statement.pem(make_key().public_key()),))
    with pytest.raises(BadSignature, match="take no package without a signature that counts there"):
        sealed(store, other, found)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (FACTS, ""),
        ({}, ""),
        ({"onnxruntime": "1.24"}, ""),
        ({"onnxruntime": "1.9.1"}, "needs onnxruntime 1.24 or later, below 2; the device has 1.9.1"),
        ({"onnxruntime": "2.0.0"}, "needs onnxruntime"),
        ({"onnxruntime": "what\x1b"}, "needs onnxruntime"),
        ({"machine": "armv7l"}, "runs on x86_64 and aarch64, not on armv7l"),
        ({"memory": 2**20}, "takes at least 64 MiB of memory; the device has 1 MiB"),
        ({"disk": 10}, "has 0 MiB of files; the device has 0 MiB free"),
    ],
)
def test_who_can_run_it(store: Store, facts: dict[str, object], reason: str) -> None:
    assert unfit(made(store), facts).startswith(reason)
    assert bool(unfit(made(store), facts)) == bool(reason)


def test_what_no_device_can_run_is_refused_at_once(store: Store) -> None:
    found = made(store)
    with pytest.raises(InvalidArgument, match=r"digits:1 runs on x86_64 and aarch64, not on riscv64 \(2 devices\)"):
        check_some_fit(found, [{"machine": "riscv64"}] * 2)
    check_some_fit(found, [{"machine": "riscv64"}, FACTS])
    check_some_fit(found, [])
