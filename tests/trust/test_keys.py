import subprocess

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from argosy.spec.errors import InvalidArgument, NotFound
from argosy.trust import keys
from tests.trust.conftest import make_key, write_key


def test_files_of_keys(tmp_path):
    key = make_key(ec.SECP384R1())
    private, public = write_key(tmp_path / "a.pem", key)
    assert keys.private_key(private).public_key() == keys.public_key(public) == key.public_key()
    signature = key.sign(b"text", ec.ECDSA(keys.HASHES["secp384r1"]))
    assert keys.good(keys.public_key(public), signature, b"text")
    assert not keys.good(keys.public_key(public), signature, b"Text")


def test_encrypted_keys(tmp_path):
    private, _ = write_key(tmp_path / "a.pem", make_key(), b"open sesame")
    assert keys.private_key(private, b"open sesame")
    with pytest.raises(InvalidArgument, match="--passphrase-file"):
        keys.private_key(private)
    with pytest.raises(InvalidArgument, match="passphrase is wrong"):
        keys.private_key(private, b"close sesame")
    with pytest.raises(InvalidArgument, match="leave --passphrase-file out"):
        keys.private_key(write_key(tmp_path / "b.pem", make_key())[0], b"open sesame")


def test_what_is_no_key_of_ours(tmp_path):
    with pytest.raises(NotFound, match=r"there is no file .*/none"):
        keys.private_key(tmp_path / "none")
    with pytest.raises(InvalidArgument, match="cannot be read"):
        keys.public_key(tmp_path)
    odd = tmp_path / "odd.pem"
    odd.write_text("no key")
    for read in (keys.private_key, keys.public_key, keys.certificates):
        with pytest.raises(InvalidArgument, match=r"odd\.pem .*in PEM"):
            read(odd)
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    for key in (ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256K1())):
        odd.write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))
        with pytest.raises(InvalidArgument, match="P-256, P-384 or P-521"):
            keys.private_key(odd)


def test_the_command_in_the_message_makes_a_key(tmp_path):
    odd = tmp_path / "odd.pem"
    odd.touch()
    with pytest.raises(InvalidArgument) as caught:
        keys.private_key(odd)
    command = caught.value.message.split("make one by  ")[1]
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    assert keys.private_key(tmp_path / "key.pem").curve.key_size == 256
