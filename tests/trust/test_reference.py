"""The reference implementation of OpenSSF model signing, unmodified, in an environment of its own: `make sdks`."""

import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from argosy.spec.errors import BadSignature
from argosy.trust.bundle import read, sign
from argosy.trust.keys import certificates
from argosy.trust.statement import files_of
from tests.store.samples import write_folder
from tests.trust.conftest import make_key, pem, write_key

pytestmark = pytest.mark.slow
PLACE = Path(sys.prefix).with_name(f"{Path(sys.prefix).name}-model-signing") / "bin" / "model_signing"


def model_signing(*args: object) -> subprocess.CompletedProcess[str]:
    if not PLACE.exists():
        pytest.skip(f"there is no environment with model-signing at {PLACE.parent.parent}: make sdks")
    return subprocess.run([str(PLACE), *map(str, args)], check=False, capture_output=True, text=True, timeout=60)


def succeeds(*args: object) -> None:
    done = model_signing(*args)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_keys_both_ways(tmp_path, folder, curve):
    write_folder(folder, {"a/b/c.bin": b"1", "a.b": b"2", "a-b/c": b"", "Ä": b"3"})
    key = make_key(curve)
    private, public = write_key(tmp_path / "a.pem", key)
    files, ours, theirs = files_of(folder), tmp_path / "ours.sig", tmp_path / "theirs.sig"
    ours.write_bytes(sign("digits", files, key))
    verify = ("verify", "key", folder, "--signature", ours, "--public_key")
    succeeds(*verify, public)
    assert model_signing(*verify, write_key(tmp_path / "b.pem", make_key(curve))[1]).returncode
    succeeds("sign", "key", folder, "--signature", theirs, "--private_key", private)
    found = read(theirs.read_bytes(), "theirs")
    found.check_files(files)
    found.check_key(key.public_key())
    (folder / "a.b").write_bytes(b"4")
    assert model_signing(*verify, public).returncode
    with pytest.raises(BadSignature, match=r"a\.b: altered"):
        found.check_files(files_of(folder))


def test_certificates_both_ways(tmp_path, folder, authority):
    key = make_key()
    private, _ = write_key(tmp_path / "a.pem", key)
    chain = authority.chain("ada", key)
    for name, found in (("root", [authority.root]), ("leaf", chain[:1]), ("issuer", chain[1:])):
        (tmp_path / name).write_bytes(pem(*found))
    files, ours, theirs = files_of(folder), tmp_path / "ours.sig", tmp_path / "theirs.sig"
    ours.write_bytes(sign("digits", files, key, chain))
    succeeds("verify", "certificate", folder, "--signature", ours, "--certificate_chain", tmp_path / "root")
    given = ("--private_key", private, "--signing_certificate", tmp_path / "leaf")
    succeeds("sign", "certificate", folder, "--signature", theirs, *given, "--certificate_chain", tmp_path / "issuer")
    found = read(theirs.read_bytes(), "theirs")
    found.check_files(files)
    found.check_authority(certificates(tmp_path / "root"), "ada@example.org")
