"""The authority of a platform for TLS between its own processes: who has which certificate, and until when.

A replica's certificate serves and a caller's calls; neither can stand for the other, so that whoever shows one that may
call is the gateway, the controller or the activator of this platform. Each is one file with its key, replaced whole: a
crash in the middle leaves the one from before. Homes that share a database have one authority: a row in it.
"""

import contextlib
import datetime
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from argosy.spec.address import TlsIdentity
from argosy.spec.errors import InvalidArgument
from argosy.store.database import Database, metadata
from argosy.store.durable import keep, replace, say, storage
from argosy.store.table import add

LOG = logging.getLogger(__name__)
CALLERS = ("gateway", "controller", "activator")
REPLICA = "replica.pem"
LIFE, LEFT = 24 * 3600.0, 14 * 3600.0
"""Seconds that a certificate is good for, and with how many left it is renewed: before half of them are over."""
EARLIER = 3600.0
"""Seconds by which it is good before it is made, for clocks that are behind."""
SETTLE = 60.0
"""Seconds for which a new authority signs only what is new: so long until everybody trusts it."""
YEARS = 10

authority_table = sa.Table(
    "authority",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("pem", sa.Text, nullable=False),
)


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """What a certificate says: whose it is, the number of the authority that signed it, and when it is good, in seconds
    since 1970."""

    name: str
    authority: str
    begins: float
    ends: float


def due(
    now: float, wanted: Mapping[Path, str], found: Mapping[Path, Shown | None], authority: str, since: float
) -> list[Path]:
    """The files to make anew: by the names `wanted` in them, what was `found` there, and the authority's number and
    when it began. Pure."""
    return [path for path, name in wanted.items() if _due(now, name, found.get(path), authority, since)]


def _due(now: float, name: str, found: Shown | None, authority: str, since: float) -> bool:
    if found is None or found.name != name or not found.begins <= now < found.ends - LEFT:
        return True
    return found.authority != authority and not 0 <= now - since < SETTLE


def read(path: Path) -> Shown | None:
    """What the file's certificate says; None where there is none to read."""
    try:
        found = x509.load_pem_x509_certificate(path.read_bytes())
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        signed = found.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except (OSError, ValueError, x509.ExtensionNotFound):
        return None
    return Shown(
        name=next(iter(names.get_values_for_type(x509.UniformResourceIdentifier)), ""),
        authority=(signed or b"").hex(),
        begins=found.not_valid_before_utc.timestamp(),
        ends=found.not_valid_after_utc.timestamp(),
    )


class Authority:
    """That of one platform. `folder` has its key, what is trusted and the certificates of callers; the key is made, and
    read, when it is needed first. With a `database` it is the one of all homes that share it, and the folder has a
    copy; that of a home which had one before is taken over. `clock` is in seconds since 1970."""

    _lock = threading.Lock()

    def __init__(
        self, folder: Path, platform: str, clock: Callable[[], float] = time.time, database: Database | None = None
    ) -> None:
        self.folder, self._platform, self._clock, self._database = folder, platform, clock, database
        self._file, self._data = folder / "authority.key", b""

    def identity(self, endpoint: str, revision: str, replica: str) -> TlsIdentity:
        """The identity of a replica, for those that call it from this machine."""
        place = f"endpoint/{endpoint}/revision/{revision}/replica/{replica}"
        return TlsIdentity(name=f"spiffe://{self._platform}/{place}", files=str(self.folder))

    def tend(self, replicas: Mapping[Path, TlsIdentity]) -> int:
        """Make the certificates that are due: those of callers, and of the replicas whose folders these are. Each
        folder has what is trusted, too. How many were made. Raises InvalidArgument, StorageFull, OSError, and what the
        database raises."""
        with self._lock, storage(self.folder):
            key, issuer = self._load()
            wanted = {self.folder / f"{who}.pem": f"spiffe://{self._platform}/{who}" for who in CALLERS}
            wanted |= {folder / REPLICA: identity.name for folder, identity in replicas.items()}
            trusted = self._trusted(issuer)
            for folder in (self.folder, *replicas):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                keep(folder / "authorities.pem", trusted)
            number = _number(issuer)
            since = max(issuer.not_valid_before_utc.timestamp() + EARLIER, self._file.stat().st_mtime)
            made = due(self._clock(), wanted, {path: read(path) for path in wanted}, number, since)
            for path in made:
                say(path, self._certificate(wanted[path], key, issuer, serves=path.name == REPLICA))
            return len(made)

    def _load(self) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        """The authority's key and certificate, which are one file. One that was read before is put back where it is
        gone; one that others could read is followed by a new one."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        there = self._file.exists()
        seen = there and bool(self._file.stat().st_mode & 0o077)
        found = self._file.read_bytes() if there and not seen else b""
        if self._data and not found:
            LOG.warning("%s was lost and is put back; for another authority, stop the platform first", self._file)
        if found and not self._data:
            self._pair(found)
        data = self._data or self._agreed(found, forget=seen)
        pair = self._pair(data)
        if data != found:
            replace(self._file, data, self.folder, mode=0o600)
            os.utime(self._file, (self._clock(), self._clock()))
        self._data = data
        return pair

    def _pair(self, data: bytes) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        try:
            key, certificate = load_pem_private_key(data, None), x509.load_pem_x509_certificate(data)
        except ValueError:
            raise InvalidArgument(f"{self._file} is no authority: put it back, or remove it for a new one") from None
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return key, certificate

    def _agreed(self, found: bytes, *, forget: bool) -> bytes:
        """What all homes of the database have: that which is there, unless it is to be forgotten, or else what was
        `found` here, or a new one."""
        mine = found or self._new()
        if self._database is None:
            return mine
        with self._database.create().begin() as connection:
            if forget:
                connection.execute(sa.delete(authority_table))
            add(connection, authority_table, [{"id": 1, "pem": mine.decode("ascii")}])
            return connection.execute(sa.select(authority_table.c.pem)).scalar_one().encode("ascii")

    def _trusted(self, issuer: x509.Certificate) -> bytes:
        """The authority's certificate, and those of earlier ones that are still good."""
        found = [issuer]
        with contextlib.suppress(OSError, ValueError):
            before = x509.load_pem_x509_certificates((self.folder / "authorities.pem").read_bytes())
            now = self._clock()
            found += [each for each in before if each != issuer and each.not_valid_after_utc.timestamp() > now]
        return b"".join(each.public_bytes(Encoding.PEM) for each in found)

    def _new(self) -> bytes:
        key, name = ec.generate_private_key(ec.SECP256R1()), named(f"Argosy platform {self._platform}")
        use = dict.fromkeys(("key_encipherment", "data_encipherment", "key_agreement", "content_commitment"), False)
        signs = x509.KeyUsage(
            digital_signature=False, key_cert_sign=True, crl_sign=False, encipher_only=False, decipher_only=False, **use
        )
        builder = self._builder(name, name, key, YEARS * 365 * 86400.0)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        return b"".join(signed(builder.add_extension(signs, critical=True), key, key))

    def _certificate(
        self, name: str, key: ec.EllipticCurvePrivateKey, issuer: x509.Certificate, *, serves: bool
    ) -> bytes:
        """A file with a new key and a certificate for a name, that serves or calls."""
        fresh = ec.generate_private_key(ec.SECP256R1())
        names = [x509.UniformResourceIdentifier(name), x509.DNSName(TlsIdentity(name=name, files="/").host)]
        use = ExtendedKeyUsageOID.SERVER_AUTH if serves else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = (
            self._builder(issuer.subject, named(name.rpartition("/")[2][:64]), fresh, LIFE)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        )
        return b"".join(signed(builder, fresh, key))

    def _builder(
        self, issuer: x509.Name, subject: x509.Name, key: ec.EllipticCurvePrivateKey, life: float
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.fromtimestamp(self._clock(), datetime.UTC)
        before, after = now - datetime.timedelta(seconds=EARLIER), now + datetime.timedelta(seconds=life)
        return x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number(), before, after)


def signed(
    builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey, by: ec.EllipticCurvePrivateKey
) -> tuple[bytes, bytes]:
    """A key and its certificate, as PEM."""
    whose, signer = (x509.SubjectKeyIdentifier.from_public_key(each.public_key()) for each in (key, by))
    builder = builder.add_extension(whose, critical=False)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(signer)
    made = builder.add_extension(identifier, critical=False).sign(by, hashes.SHA256())
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return secret, made.public_bytes(Encoding.PEM)


def _number(authority: x509.Certificate) -> str:
    return authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.key_identifier.hex()


def named(text: str) -> x509.Name:
    """A subject or issuer."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
