"""An authority for certificates of one session of tests, and what it has issued."""

import datetime
import ipaddress
import re
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HOSTS = ("localhost", "kubernetes.default.svc")
ADDRESSES = ("127.0.0.1",)


class Authority:
    """A key and a self-signed certificate in a folder; users and groups are the names that Kubernetes reads."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.certificate = folder / "authority.pem"
        self.service_accounts = folder / "service-accounts.key"
        """The key that signs the tokens of service accounts."""
        _write_key(ec.generate_private_key(ec.SECP256R1()), self.service_accounts)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        made = (
            self._builder(self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
        )
        self.certificate.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def issue(
        self, user: str, *groups: str, server: bool = False, address: str = "", seconds: float | None = None
    ) -> tuple[Path, Path]:
        """The files of a certificate and its key, made where there are none, or anew where it lives only so long. That
        of a server is for `address` too."""
        stem = re.sub(r"[^\w.-]", "-", user)
        certificate, file = self.folder / f"{stem}.pem", self.folder / f"{stem}.key"
        if certificate.exists() and seconds is None:
            return certificate, file
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        made = self._builder(x509.Name([*names, x509.NameAttribute(NameOID.COMMON_NAME, user)]), key, seconds)
        made = made.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if server:
            addresses = [
                x509.IPAddress(ipaddress.ip_address(each)) for each in (*ADDRESSES, *([address] if address else []))
            ]
            own = x509.SubjectAlternativeName([*map(x509.DNSName, HOSTS), *addresses])
            made = made.add_extension(own, critical=False)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        made = made.add_extension(identifier, critical=False)
        _write_key(key, file)
        certificate.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return certificate, file

    def context(self, user: str = "", *groups: str) -> ssl.SSLContext:
        """A client's side that trusts this authority alone, and shows the certificate of a user if one is named."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        if user:
            context.load_cert_chain(*self.issue(user, *groups))
        return context

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, seconds: float | None = None
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        life = datetime.timedelta(days=2) if seconds is None else datetime.timedelta(seconds=seconds)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + life)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )


def _write_key(key: ec.EllipticCurvePrivateKey, file: Path) -> None:
    form = serialization.PrivateFormat.TraditionalOpenSSL  # of the others, no public key is read
    file.touch(0o600)
    file.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
