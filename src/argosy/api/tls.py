"""TLS of the control API: by the certificate that the settings name, or by one made for the home.

The one that is made signs itself and nothing else: whoever is given `HOME/tls/control.pem` trusts this server alone.
Commands on this machine need no authority at all: they know it by the fingerprint in `run/control.json`.
"""

import datetime
import hashlib
import ipaddress
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from argosy.serving.port import loopback
from argosy.spec.errors import InvalidArgument
from argosy.spec.settings import ControlSettings, Home, Settings
from argosy.store.durable import replace, storage

if TYPE_CHECKING:
    from cryptography import x509

DAYS, LEFT = 825, 30
"""How long one that is made is good for, the longest that browsers take, and with how much left it is renewed."""
NAME = "Argosy control API"
ANY = ("", "0.0.0.0", "::")
"""Hosts that mean any address of this machine."""


def spoken(settings: ControlSettings) -> bool:
    """Whether the control API speaks TLS: with a certificate always, else where other machines reach it."""
    return bool(settings.tls_cert) or not (loopback(settings.host) or settings.plain)


def files(home: Home, settings: ControlSettings) -> tuple[Path, Path]:
    """Where certificate and key lie."""
    if settings.tls_cert:
        return Path(settings.tls_cert).absolute(), Path(settings.tls_key).absolute()
    return home.root / "tls" / "control.pem", home.root / "tls" / "control.key"


def scraped(home: Home, settings: Settings) -> dict[str, Any]:
    """How Prometheus is told to speak to the control API."""
    if not spoken(settings.control):
        return {}
    own = {} if settings.control.tls_cert else {"tls_config": {"ca_file": str(files(home, settings.control)[0])}}
    return {"scheme": "https"} | own


def certificate(home: Home, settings: ControlSettings) -> "Certificate | None":
    """What the control API shows; None where it speaks no TLS. One is made where none is set, or the one that was made
    is no good any more. Raises InvalidArgument, StorageFull."""
    if not spoken(settings):
        return None
    found, key = files(home, settings)
    if not settings.tls_cert and not _good(found, key, _called(settings)):
        _make(found, key, _called(settings))
    return Certificate(found, key)


class Certificate:
    """A certificate in use. `fingerprint` is its SHA-256."""

    def __init__(self, path: Path, key: Path) -> None:
        self.path, self._key = path, key
        self.context = _context()
        self._stamp = self._stat()
        self.fingerprint = self._read()

    def renewed(self) -> bool:
        """Take up files that have changed; whether they had. Raises InvalidArgument, and keeps what it has, where they
        cannot be used."""
        stamp = self._stat()
        if stamp == self._stamp:
            return False
        self.fingerprint = self._read()
        self._stamp = stamp
        return True

    def _stat(self) -> list[int]:
        try:
            found = self.path.stat(), self._key.stat()
        except OSError as error:
            raise InvalidArgument(f"the control API's certificate: {error.filename}: {error.strerror}") from None
        return [number for each in found for number in (each.st_ino, each.st_mtime_ns)]

    def _read(self) -> str:
        try:
            for context in (_context(), self.context):
                context.load_cert_chain(self.path, self._key)
            _, _, rest = self.path.read_text("ascii", "replace").partition(ssl.PEM_HEADER)
            shown, footer, _ = rest.partition(ssl.PEM_FOOTER)
            return hashlib.sha256(ssl.PEM_cert_to_DER_cert(ssl.PEM_HEADER + shown + footer)).hexdigest()
        except (OSError, ValueError) as error:
            raise InvalidArgument(
                f"the control API cannot use the certificate {self.path} with the key {self._key}: {error}"
            ) from None


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _called(settings: ControlSettings) -> list[str]:
    """The names that the settings say clients have for it."""
    return [*([] if settings.host in ANY else [settings.host]), *settings.names]


def _good(path: Path, key: Path, called: list[str]) -> bool:
    """Whether one that was made before can be used, for a month at least, under these names."""
    from cryptography import x509

    try:
        if key.stat().st_mode & 0o077:
            return False
        Certificate(path, key)
        found = x509.load_pem_x509_certificate(path.read_bytes())
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, InvalidArgument, x509.ExtensionNotFound):
        return False
    left = found.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    return left > datetime.timedelta(days=LEFT) and all(_name(each) in names for each in called)


def _make(path: Path, key: Path, also: list[str]) -> None:
    """A key on P-256, which everything understands, and a certificate for the names of this machine."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    from argosy.store.authority import named, signed

    names = ["localhost", "127.0.0.1", "::1", socket.gethostname(), *also]
    for addresses in psutil.net_if_addrs().values():
        names += [each.address for each in addresses if each.family in (socket.AF_INET, socket.AF_INET6)]
    called = list(dict.fromkeys(_name(each.partition("%")[0]) for each in names))
    fresh = ec.generate_private_key(ec.SECP256R1())
    who, now, hour = named(NAME), datetime.datetime.now(datetime.UTC), datetime.timedelta(hours=1)
    number, after = x509.random_serial_number(), now + datetime.timedelta(days=DAYS)
    builder = (
        x509.CertificateBuilder(who, who, fresh.public_key(), number, now - hour, after)
        .add_extension(x509.SubjectAlternativeName(called), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    secret, made = signed(builder, fresh, fresh)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with storage(path.parent):
        replace(key, secret, key.parent, mode=0o600)
        replace(path, made, path.parent, mode=0o644)


def _name(text: str) -> "x509.GeneralName":
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)
