"""Signed updates: whose count, over what, and that no bit of them can be another."""

import random
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from argosy.spec.errors import InvalidArgument, StorageFull
from argosy.spec.settings import Home, Settings
from argosy.store import open_store
from argosy.store.database import Database
from argosy.store.fleet_keys import FleetKeys
from argosy.store.ledger import Cause
from argosy.trust import bundle as bundles
from argosy.trust import keys
from argosy_edge.signed import check, check_bundle, renewed
from argosy_edge.statement import (
    KEYS,
    UPDATE,
    BadStatement,
    chain_key,
    key_name,
    opened,
    pae,
    seal,
    sign,
)
from argosy_edge.wire import Envelope, KeySet, Update, UpdateFile
from tests.trust.conftest import Authority, make_key, pem

KEY = make_key()
HASH = "ab" * 32
FILES = (UpdateFile(path="model.onnx", size=3, sha256=HASH), UpdateFile(path="model.yaml", size=9, sha256="cd" * 32))
LISTED = {each.path: each.sha256 for each in FILES}


def public(key: keys.PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def update(fleet: str = "cars", index: int = 3) -> Update:
    return Update(fleet=fleet, index=index, ref="m:1", package=f"sha256:{HASH}", files=FILES, manifest={"name": "m"})


def test_an_update_comes_back_as_it_was_signed() -> None:
    assert check(seal(update(), KEY), "cars", [public(make_key()), public(KEY)]) == update()


def test_one_of_another_key_fleet_or_kind_is_refused() -> None:
    envelope = seal(update(), KEY)
    with pytest.raises(BadStatement, match="a key that is not one of the fleet's"):
        check(envelope, "cars", [public(make_key())])
    with pytest.raises(BadStatement, match="'cars', not of 'boats'"):
        check(envelope, "boats", [public(KEY)])
    other = sign("application/json", msgspec.json.encode(update()), KEY)
    with pytest.raises(BadStatement, match="the signature is not that of"):
        check(other, "cars", [public(KEY)])
    forged = msgspec.structs.replace(seal(update(), make_key()), key=key_name(KEY.public_key()))
    with pytest.raises(BadStatement, match="the signature is not that of"):
        check(forged, "cars", [public(KEY)])
    with pytest.raises(BadStatement, match="cannot be read"):
        check(sign(UPDATE, b'{"fleet": "cars"}', KEY), "cars", [public(KEY)])
    with pytest.raises(BadStatement, match="larger than"):
        opened(UPDATE, Envelope(payload=bytes(5_000_000), signature=b"", key=""), [])


def test_no_bit_of_what_is_sent_can_be_another() -> None:
    sent, keys_ = msgspec.json.encode(seal(update(), KEY)), [public(KEY)]
    picked = random.Random(18)
    refused = 0
    for _ in range(600):
        changed = bytearray(sent)
        changed[picked.randrange(len(sent))] ^= 1 << picked.randrange(8)
        try:
            found = check(msgspec.json.decode(bytes(changed), type=Envelope), "cars", keys_)
        except (msgspec.DecodeError, UnicodeDecodeError, BadStatement):
            refused += 1
        else:
            assert found == update(), "bits that Base64 does not use, or the name of the field that is empty"
    assert refused > 580


def test_the_signature_of_a_package_counts_by_key_and_by_authority() -> None:
    signer, authority = make_key(ec.SECP384R1()), Authority()
    by_key = bundles.sign("m", LISTED, signer)
    check_bundle(by_key, LISTED, [public(make_key()), public(signer)])
    by_authority = bundles.sign("m", LISTED, signer, authority.chain("ann", signer))
    check_bundle(by_authority, LISTED, [pem(authority.root).decode()])
    sealed = seal(update(), KEY, by_key)
    assert check(sealed, "cars", [public(KEY)], [public(signer)]) == update()
    with pytest.raises(BadStatement, match="by none whose signature counts"):
        check_bundle(by_key, LISTED, [pem(authority.root).decode()])
    with pytest.raises(BadStatement, match="by none whose signature counts"):
        check_bundle(by_authority, LISTED, [pem(Authority().root).decode()])
    with pytest.raises(BadStatement, match="is not signed"):
        check(seal(update(), KEY), "cars", [public(KEY)], [public(signer)])


def test_a_signature_over_other_files_is_refused_by_name() -> None:
    signer = make_key()
    for files, name in (
        ({**LISTED, "extra": HASH}, "extra"),
        ({"model.yaml": LISTED["model.yaml"]}, "model.onnx"),
        ({**LISTED, "model.onnx": "00" * 32}, "model.onnx"),
    ):
        with pytest.raises(BadStatement, match=f"over other bytes: {name}"):
            check_bundle(bundles.sign("m", files, signer), LISTED, [public(signer)])


def test_no_bit_that_is_signed_of_a_package_can_be_another() -> None:
    signer = make_key()
    data = msgspec.json.decode(bundles.sign("m", LISTED, signer))
    picked = random.Random(18)
    for _ in range(200):
        changed = msgspec.json.decode(msgspec.json.encode(data))
        envelope = changed["dsseEnvelope"]
        place = envelope if picked.random() < 0.7 else envelope["signatures"][0]
        name = "payload" if place is envelope else "sig"
        raw = bytearray(msgspec.json.decode(msgspec.json.encode(place[name]), type=bytes))
        raw[picked.randrange(len(raw))] ^= 1 << picked.randrange(8)
        place[name] = bytes(raw)
        with pytest.raises(BadStatement):
            check_bundle(msgspec.json.encode(changed), LISTED, [public(signer)])


@pytest.mark.parametrize("data", [b"{", b"[]", b"\xff", b'{"verificationMaterial":{}}', b"[" * 100_000], ids=range(5))
def test_what_is_no_bundle_is_refused(data: bytes) -> None:
    with pytest.raises(BadStatement, match="cannot be read"):
        check_bundle(data, LISTED, [public(KEY)])


def test_a_certificate_that_expired_signs_packages_on_but_lets_no_device_in() -> None:
    authority, key = Authority(), make_key()
    chain = authority.chain("ann", key)
    assert chain_key(chain, [authority.root], at_its_start=True) == key.public_key()
    with pytest.raises(ValueError, match="not valid"):
        chain_key(chain, [authority.root])
    with pytest.raises(ValueError, match="no certificate"):
        chain_key([], [authority.root])


def test_a_key_that_is_none_of_ours_is_refused() -> None:
    with pytest.raises(BadStatement, match="in PEM is none"):
        opened(UPDATE, seal(update(), KEY), ["nothing"])
    with pytest.raises(BadStatement, match="not on one of the curves"):
        opened(UPDATE, seal(update(), KEY), [public(ec.generate_private_key(ec.SECP256K1()))])


def test_what_is_signed_begins_with_its_kind() -> None:
    assert pae("a/b", b"xyz") == b"DSSEv1 3 a/b 3 xyz"


def test_keys_follow_each_other_by_signatures_and_in_order() -> None:
    one, two, three = make_key(), make_key(), make_key()

    def follows(number: int, by: keys.PrivateKey, *of: keys.PrivateKey) -> Envelope:
        return sign(KEYS, msgspec.json.encode(KeySet(number=number, keys=tuple(map(public, of)))), by)

    first = KeySet(number=1, keys=(public(one),))
    sets = [follows(2, one, two, one), follows(3, two, three)]
    assert renewed(first, sets) == KeySet(number=3, keys=(public(three),))
    assert renewed(first, []) == first
    with pytest.raises(BadStatement, match="not one of the fleet's"):
        renewed(first, [follows(2, three, three)])
    with pytest.raises(BadStatement, match="not one of the fleet's"):
        renewed(first, [*sets, follows(4, two, two)])
    for wrong in (follows(3, one, one), follows(1, one, two), follows(2, one)):
        with pytest.raises(BadStatement, match="is followed by"):
            renewed(first, [wrong])
    with pytest.raises(BadStatement, match="the signature is not that"):
        renewed(first, [sign(UPDATE, b"{}", one)])


def test_a_new_key_signs_when_it_is_on_the_disk_and_the_one_before_says_so(database: Database, tmp_path: Path) -> None:
    def statement_of(number: int, known: tuple[str, ...], by: keys.PrivateKey) -> bytes:
        return msgspec.json.encode(sign(KEYS, msgspec.json.encode(KeySet(number=number, keys=known)), by))

    held = FleetKeys(tmp_path / "fleet.key", database, shared=True)
    first = held.public
    second = held.rotate(statement_of, retire=False, cause=Cause())
    assert second.keys == (held.pem, *first.keys)
    elsewhere = FleetKeys(tmp_path / "other.key", database, shared=True)
    assert (elsewhere.pem, elsewhere.public) == (held.pem, second)
    third = held.rotate(statement_of, retire=True, cause=Cause())
    assert third.keys == (held.pem,)
    sets = [msgspec.json.decode(each, type=Envelope) for each in held.since(1)]
    found = renewed(KeySet(number=1, keys=first.keys), sets)
    assert (found.number, found.keys) == (3, third.keys)
    assert held.since(3) == []

    def full(*_: object) -> bytes:
        raise StorageFull("no space")

    with pytest.raises(StorageFull):
        held.rotate(full, retire=False, cause=Cause())
    assert FleetKeys(tmp_path / "fleet.key", database, shared=True).pem == held.pem


def test_the_key_of_fleets_stays_and_is_its_owners_alone(tmp_path: Path) -> None:
    store = open_store(Home(tmp_path / "home"), Settings())
    first = store.fleet_keys.pem
    path = store.home.root / "fleet.key"
    assert path.stat().st_mode & 0o077 == 0
    again = FleetKeys(path, store.database, shared=False)
    assert again.pem == first
    assert again.secret("sessions") == store.fleet_keys.secret("sessions") != again.secret("other")
    assert check(seal(update(), again.current), "cars", [first]) == update()
    shared = FleetKeys(tmp_path / "elsewhere.key", store.database, shared=True)
    third = FleetKeys(tmp_path / "third.key", store.database, shared=True)
    assert third.pem == shared.pem != first, "homes of one database"
    path.chmod(0o644)
    with pytest.raises(InvalidArgument, match="others can read"):
        _ = FleetKeys(path, store.database, shared=False).pem
    path.write_text("nothing")
    path.chmod(0o600)
    with pytest.raises(InvalidArgument, match="no key of these fleets"):
        _ = FleetKeys(path, store.database, shared=False).pem
    store.close()
