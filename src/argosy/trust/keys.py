"""Keys and certificates of signers: elliptic curves of NIST, since the reference implementation takes no others."""

import hashlib
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID

from argosy.spec.errors import BadSignature, InvalidArgument, NotFound

PublicKey = ec.EllipticCurvePublicKey
PrivateKey = ec.EllipticCurvePrivateKey
HASHES: dict[str, hashes.HashAlgorithm] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}
"""Curve → what is hashed by, as the Sigstore protobuf specifications pair them."""
BROKEN = (
    *(ValueError, TypeError, OverflowError, UnsupportedAlgorithm),
    *(x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, x509.AttributeNotFound),
)
"""What reading a certificate of somebody else can raise."""
_MAKE = "openssl ecparam -name prime256v1 -genkey -noout -out key.pem"

K = TypeVar("K", PublicKey, PrivateKey)


def private_key(path: Path, passphrase: bytes | None = None) -> PrivateKey:
    """The private key of a PEM file. Raises NotFound, InvalidArgument for what is none or of another kind."""
    try:
        key = serialization.load_pem_private_key(content(path), passphrase)
    except TypeError:
        raise InvalidArgument(
            f"{path}: the key is encrypted: give --passphrase-file"
            if passphrase is None
            else f"{path}: the key is not encrypted: leave --passphrase-file out"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        why = "" if passphrase is None else ", or the passphrase is wrong"
        raise InvalidArgument(f"{path} is no private key in PEM{why}: make one by  {_MAKE}") from None
    return _usable(key, PrivateKey, str(path))


def public_key(path: Path) -> PublicKey:
    """The public key of a PEM file. Raises as `private_key`."""
    try:
        key = serialization.load_pem_public_key(content(path))
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidArgument(
            f"{path} is no public key in PEM: write it by  openssl ec -in key.pem -pubout -out {path.name}"
        ) from None
    return _usable(key, PublicKey, str(path))


def certificates(path: Path) -> list[x509.Certificate]:
    """All certificates of a PEM file. Raises NotFound, InvalidArgument."""
    try:
        return x509.load_pem_x509_certificates(content(path))
    except ValueError:
        raise InvalidArgument(f"{path} holds no certificates in PEM") from None


def _usable(key: object, kind: type[K], where: str) -> K:
    if not isinstance(key, kind) or key.curve.name not in HASHES:
        raise InvalidArgument(
            f"{where} is no key on the curves P-256, P-384 or P-521, which alone the format's other implementations "
            f"take: make one by  {_MAKE}"
        )
    return key


def content(path: Path) -> bytes:
    """All of a file. Raises NotFound, InvalidArgument."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}") from None
    except OSError as error:
        raise InvalidArgument(f"{path} cannot be read: {error.strerror}") from None


def hint(key: PublicKey) -> str:
    """How a bundle names a key: SHA-256 of its PEM text, in hex."""
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(pem).hexdigest()


def good(key: PublicKey, signature: bytes, data: bytes) -> bool:
    """Whether the key has signed the data."""
    try:
        key.verify(signature, data, ec.ECDSA(HASHES[key.curve.name]))
    except InvalidSignature:
        return False
    return True


def check_chain(chain: list[x509.Certificate], roots: list[x509.Certificate], identity: str = "") -> PublicKey:
    """The key of a signing certificate, which comes first in `chain`, if it leads to one of the roots and, if that is
    given, names `identity` (an e-mail address, a URI or a DNS name) as its subject alternative name.

    It is judged as of the start of its validity, as the reference implementation does: there is no trusted time of the
    signature, and what was signed has to stay good when the certificate expires. Raises BadSignature.
    """
    leaf = chain[0]
    extensions = (
        verification.ExtensionPolicy.permit_all(),
        verification.ExtensionPolicy.permit_all().require_present(
            x509.BasicConstraints, verification.Criticality.AGNOSTIC, _check_issuer
        ),
    )
    try:
        builder = verification.PolicyBuilder().store(verification.Store(roots)).time(leaf.not_valid_before_utc)
        builder = builder.extension_policies(ee_policy=extensions[0], ca_policy=extensions[1])
        builder.build_client_verifier().verify(leaf, chain[1:])
        found = _usable(leaf.public_key(), PublicKey, "the signing certificate")
        fit, names = _may_sign(leaf), identities(leaf)
    except (verification.VerificationError, InvalidArgument, *BROKEN) as error:
        raise BadSignature(f"the signing certificate does not count here: {error}") from None
    if not fit:
        raise BadSignature("the signing certificate is for another use: neither digitalSignature nor codeSigning")
    if identity and identity not in names:
        raise BadSignature(f"the signing certificate is that of {', '.join(names) or 'nobody by name'}: not {identity}")
    return found


def _check_issuer(policy: object, certificate: x509.Certificate, extension: x509.BasicConstraints | None) -> None:
    usages = [each.value for each in certificate.extensions if isinstance(each.value, x509.KeyUsage)]
    if extension is None or not extension.ca or not all(each.key_cert_sign for each in usages):
        raise ValueError(f"{certificate.subject.rfc4514_string()} is no certificate authority")


def _may_sign(leaf: x509.Certificate) -> bool:
    found = [each.value for each in leaf.extensions]
    usages = [each.digital_signature for each in found if isinstance(each, x509.KeyUsage)]
    usages += [ExtendedKeyUsageOID.CODE_SIGNING in each for each in found if isinstance(each, x509.ExtendedKeyUsage)]
    return any(usages)


def identities(leaf: x509.Certificate) -> list[str]:
    """Whom a certificate names: e-mail addresses, URIs and DNS names."""
    found = [each.value for each in leaf.extensions if isinstance(each.value, x509.SubjectAlternativeName)]
    kinds = (x509.RFC822Name, x509.UniformResourceIdentifier, x509.DNSName)
    return [name for each in found for kind in kinds for name in each.get_values_for_type(kind)]
