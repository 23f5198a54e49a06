"""Keys, a small authority, and a package folder that they sign."""

import datetime as dt
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from argosy.trust.keys import PrivateKey
from tests.store.samples import write_folder

START = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


def make_key(curve: ec.EllipticCurve | None = None) -> PrivateKey:
    return ec.generate_private_key(curve or ec.SECP256R1())


def write_key(path: Path, key: PrivateKey, passphrase: bytes = b"") -> tuple[Path, Path]:
    """The files of the private and the public key."""
    how = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how))
    public = path.with_suffix(".pub")
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    public.write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, form))
    return path, public


def certificate(
    name: str, key: PrivateKey, issuer: tuple[str, PrivateKey], *, ca: bool = False, signs: bool = True, days: int = 30
) -> x509.Certificate:
    """A certificate from 2020; that of a signer names NAME@example.org."""
    named = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each)]) for each in (name, issuer[0])]
    made = x509.CertificateBuilder(
        subject_name=named[0],
        issuer_name=named[1],
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=START,
        not_valid_after=START + dt.timedelta(days=days),
    )
    usage = x509.KeyUsage(signs and not ca, False, False, False, False, ca, False, False, False)
    made = made.add_extension(usage, critical=True)
    if ca:
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    else:
        made = made.add_extension(x509.SubjectAlternativeName([x509.RFC822Name(f"{name}@example.org")]), critical=False)
        other = ExtendedKeyUsageOID.SERVER_AUTH
        made = made.add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING if signs else other]), critical=False
        )
    return made.sign(issuer[1], hashes.SHA256())


class Authority:
    """A root and an issuer below it."""

    def __init__(self, name: str = "root") -> None:
        self.key, self.below = make_key(), make_key()
        self.root = certificate(name, self.key, (name, self.key), ca=True)
        self.issuer = certificate("issuer", self.below, (name, self.key), ca=True)

    def chain(self, name: str, key: PrivateKey, *, signs: bool = True) -> list[x509.Certificate]:
        """The chain of a signer, his own certificate first."""
        return [certificate(name, key, ("issuer", self.below), signs=signs), self.issuer]


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in certificates)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "digits")


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()
