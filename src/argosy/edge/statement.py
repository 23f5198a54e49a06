"""Updates that are signed, in DSSE envelopes.

This file is shared with the agent: see `wire.py`. What it verifies is read afterwards, never before. An update is
signed by the platform of its fleet, over its own media type, so that the signature can stand for nothing else. Source:
DSSE v1.0.0.
"""

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from cryptography.x509 import verification

from .wire import Envelope, Update, WireError

UPDATE, KEYS = "application/vnd.argosy.update+json", "application/vnd.argosy.keys+json"
MOST_BYTES = 4 * 1024 * 1024
"""Of what is signed, and of a bundle."""
HASHES: dict[str, hashes.HashAlgorithm] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}
BROKEN = (
    *(ValueError, TypeError, OverflowError, UnsupportedAlgorithm),
    *(x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, x509.AttributeNotFound),
)
"""What reading a key or certificate of somebody else can raise."""


class BadStatement(WireError):
    """What had to be signed and is not: by nobody, by another key, or over other bytes."""


def pae(kind: str, payload: bytes) -> bytes:
    """What is signed: the payload after its type and both lengths."""
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)


def enrolment_data(nonce: str, fleet: str) -> bytes:
    """What a device signs to prove that it has the key it enrols."""
    return pae("application/vnd.argosy.enrolment+json", msgspec.json.encode((nonce, fleet)))


def session_data(nonce: str, device: str, ratchet: str) -> bytes:
    """What a device signs for a session."""
    return pae("application/vnd.argosy.session+json", msgspec.json.encode((nonce, device, ratchet)))


def key_name(key: ec.EllipticCurvePublicKey) -> str:
    """What names a key in an envelope: SHA-256 of its DER, in hex."""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def public_key(pem: str) -> ec.EllipticCurvePublicKey:
    """A public key on P-256, P-384 or P-521 out of PEM. Raises BadStatement."""
    try:
        key = load_pem_public_key(pem.encode())
    except BROKEN:
        raise BadStatement("what should be a public key in PEM is none") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in HASHES:
        raise BadStatement("the key is not on one of the curves P-256, P-384 and P-521")
    return key


def pem(key: ec.EllipticCurvePublicKey) -> str:
    """A public key as text."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")


def signed_by(key: ec.EllipticCurvePublicKey, signature: bytes, data: bytes) -> bool:
    """Whether the key has signed the data."""
    try:
        key.verify(signature, data, ec.ECDSA(HASHES[key.curve.name]))
    except InvalidSignature:
        return False
    return True


def seal(update: Update, key: ec.EllipticCurvePrivateKey, bundle: bytes = b"") -> Envelope:
    """An update, signed. `bundle`: the signature of its package, where the fleet asks for one."""
    return sign(UPDATE, msgspec.json.encode(update), key, bundle)


def sign(kind: str, payload: bytes, key: ec.EllipticCurvePrivateKey, bundle: bytes = b"") -> Envelope:
    """Any payload, signed as that kind."""
    signature = key.sign(pae(kind, payload), ec.ECDSA(HASHES[key.curve.name]))
    return Envelope(payload=payload, signature=signature, key=key_name(key.public_key()), bundle=bundle)


def opened(kind: str, envelope: Envelope, keys: Iterable[str]) -> bytes:
    """The payload, if one of the `keys` (PEM) has signed it as that kind. Raises BadStatement."""
    if len(envelope.payload) > MOST_BYTES:
        raise BadStatement(f"what is signed is larger than {MOST_BYTES} bytes")
    key = next((each for each in map(public_key, keys) if key_name(each) == envelope.key), None)
    if key is None:
        raise BadStatement(f"it is signed by a key that is not one of the fleet's ({envelope.key[:16]!r})")
    if not signed_by(key, envelope.signature, pae(kind, envelope.payload)):
        raise BadStatement(f"the signature is not that of the fleet's key {envelope.key[:16]}")
    return envelope.payload


def chain_key(
    chain: list[x509.Certificate], roots: list[x509.Certificate], *, at_its_start: bool = False
) -> ec.EllipticCurvePublicKey:
    """The key of the first certificate, if it leads to one of the roots and is good now; with `at_its_start` at the
    beginning of its time, since what was signed then stays good. Raises ValueError, which says why not."""
    if not chain:
        raise ValueError("there is no certificate")
    anybody: Any = verification.ExtensionPolicy.permit_all()
    issuers = anybody.require_present(x509.BasicConstraints, verification.Criticality.AGNOSTIC, _check_issuer)
    builder = verification.PolicyBuilder().store(verification.Store(roots))
    builder = builder.extension_policies(ee_policy=anybody, ca_policy=issuers)
    builder = builder.time(chain[0].not_valid_before_utc) if at_its_start else builder
    try:
        builder.build_client_verifier().verify(chain[0], chain[1:])
    except verification.VerificationError as error:
        raise ValueError(str(error)) from None
    key = chain[0].public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in HASHES:
        raise ValueError("its key is not on one of the curves P-256, P-384 and P-521")
    return key


def _check_issuer(policy: object, certificate: x509.Certificate, extension: x509.BasicConstraints | None) -> None:
    usages = [each.value for each in certificate.extensions if isinstance(each.value, x509.KeyUsage)]
    if extension is None or not extension.ca or not all(each.key_cert_sign for each in usages):
        raise ValueError(f"{certificate.subject.rfc4514_string()} is no certificate authority")
