"""The identity of a device: a key that it made, whole or not there, and of nobody else."""

import os
import stat
from pathlib import Path

import pytest

from argosy_edge import durable, statement
from argosy_edge.errors import BadPackage, InvalidArgument, NotFound, PermissionDenied
from argosy_edge.identity import Identity, Platform, facts
from argosy_edge.wire import Enrolled

HERE = Platform(url="http://127.0.0.1:1")


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    return Identity(tmp_path / "identity")


def enrolled(identity: Identity) -> Enrolled:
    return Enrolled(device="a", fleet="cars", keys=(identity.public_key,))


def test_a_key_is_made_once_for_its_owner_alone(identity: Identity) -> None:
    pem = identity.public_key
    path = identity.folder / "key.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(identity.folder.stat().st_mode) == 0o700
    again = Identity(identity.folder)
    assert again.public_key == pem
    assert statement.signed_by(statement.public_key(pem), again.sign(b"data"), b"data")


def test_a_key_that_others_can_read_is_no_identity(identity: Identity) -> None:
    identity.sign(b"")
    (identity.folder / "key.pem").chmod(0o640)
    with pytest.raises(PermissionDenied, match="others can read"):
        Identity(identity.folder).sign(b"")


def test_it_is_told_once_who_it_is(identity: Identity) -> None:
    assert identity.enrolled is None
    with pytest.raises(NotFound, match="argosy-edge enrol"):
        _ = identity.platform
    identity.keep(enrolled(identity), HERE)
    again = Identity(identity.folder)
    assert again.enrolled == identity.enrolled
    assert again.platform == HERE
    with pytest.raises(InvalidArgument, match="keys for updates"):
        identity.keep(Enrolled(device="a", fleet="cars", keys=("nothing",)), HERE)


def test_a_key_that_is_gone_or_damaged_is_said_not_made_anew(identity: Identity) -> None:
    identity.keep(enrolled(identity), HERE)
    (identity.folder / "key.pem").write_text("nothing")
    with pytest.raises(BadPackage, match="no key of a device"):
        Identity(identity.folder).sign(b"")
    (identity.folder / "key.pem").unlink()
    with pytest.raises(NotFound, match="is gone"):
        Identity(identity.folder).sign(b"")
    (identity.folder / "device.json").write_text("{")
    with pytest.raises(BadPackage, match="damaged"):
        _ = Identity(identity.folder).enrolled


def test_a_ratchet_is_on_the_disk_or_the_one_before_is(identity: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    identity.sign(b"")
    assert identity.ratchet == ""
    identity.ratchet = "first"
    synced: list[int] = []
    monkeypatch.setattr(durable.os, "fsync", synced.append)
    identity.ratchet = "second"
    assert len(synced) == 2, "the file, and the folder that names it"

    def full(*_: object) -> int:
        raise OSError(28, "no space left")

    monkeypatch.setattr(durable.os, "write", full)
    with pytest.raises(OSError, match="no space"):
        identity.ratchet = "third"
    assert Identity(identity.folder).ratchet == "second"


def test_what_a_machine_is_fits_the_protocol(tmp_path: Path) -> None:
    found = facts(tmp_path)
    assert found.machine == os.uname().machine
    assert found.memory > 0
    assert found.disk > 0
    assert found.onnxruntime
    assert facts(tmp_path / "nowhere").disk == 0
