"""What a device believes of what a fleet has signed: updates, the keys that follow those it has, and the signatures of
packages that a fleet asks for besides: a Sigstore bundle by one of its `signers`, over exactly the files of the update.

Sources: Sigstore bundle v0.3 (JSON), OpenSSF model signing 1.0.
"""

from collections.abc import Iterable

import msgspec
from cryptography import x509

from .statement import (
    BROKEN,
    KEYS,
    MOST_BYTES,
    UPDATE,
    BadStatement,
    chain_key,
    opened,
    pae,
    pem,
    public_key,
    signed_by,
)
from .wire import Envelope, KeySet, Update

MODEL, PREDICATE = "application/vnd.in-toto+json", "https://model_signing/signature/v1.0"


class _Signature(msgspec.Struct, frozen=True):
    sig: bytes


class _Dsse(msgspec.Struct, frozen=True, rename="camel"):
    payload: bytes
    payload_type: str
    signatures: tuple[_Signature, ...]


class _Certificate(msgspec.Struct, frozen=True, rename="camel"):
    raw_bytes: bytes


class _Material(msgspec.Struct, frozen=True, rename="camel"):
    x509_certificate_chain: dict[str, tuple[_Certificate, ...]] = {}


class _Bundle(msgspec.Struct, frozen=True, rename="camel"):
    verification_material: _Material
    dsse_envelope: _Dsse


class _Resource(msgspec.Struct, frozen=True):
    name: str
    algorithm: str
    digest: str


class _Predicate(msgspec.Struct, frozen=True):
    resources: tuple[_Resource, ...]


class _Statement(msgspec.Struct, frozen=True, rename={"predicate_type": "predicateType"}):
    predicate_type: str
    predicate: _Predicate


def check(envelope: Envelope, fleet: str, keys: Iterable[str], signers: Iterable[str] = ()) -> Update:
    """The update in an envelope, if one of the fleet's `keys` has signed it for this `fleet` and, where there are
    `signers`, one of them the files of its package. Raises BadStatement."""
    payload = opened(UPDATE, envelope, keys)
    try:
        update = msgspec.json.decode(payload, type=Update)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadStatement(f"the update that is signed cannot be read: {error}") from None
    if update.fleet != fleet:
        raise BadStatement(f"the update is one of the fleet '{update.fleet}', not of '{fleet}'")
    if wanted := tuple(signers):
        check_bundle(envelope.bundle, {each.path: each.sha256 for each in update.files}, wanted)
    return update


def renewed(believed: KeySet, sets: Iterable[Envelope]) -> KeySet:
    """The set of keys to believe after those that came, each signed by a key of the one before. Raises BadStatement."""
    for envelope in sets:
        payload = opened(KEYS, envelope, believed.keys)
        try:
            found = msgspec.json.decode(payload, type=KeySet)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadStatement(f"the set of keys cannot be read: {error}") from None
        if found.number != believed.number + 1 or not found.keys:
            raise BadStatement(f"the set of keys {believed.number} is followed by {found.number}, or is empty")
        believed = KeySet(number=found.number, keys=tuple(pem(public_key(each)) for each in found.keys))
    return believed


def check_bundle(data: bytes, files: dict[str, str], signers: Iterable[str]) -> None:
    """Raises BadStatement unless a Sigstore bundle is that of one of the `signers` over exactly these files (path →
    SHA-256). A signer is the PEM of a public key, or of the certificates of an authority."""
    if not data:
        raise BadStatement("the package is not signed, and this fleet takes none that is not")
    try:
        if len(data) > MOST_BYTES:
            raise ValueError(f"it is larger than {MOST_BYTES} bytes")
        bundle = msgspec.json.decode(data, type=_Bundle)
        envelope = bundle.dsse_envelope
        if envelope.payload_type != MODEL or len(envelope.signatures) != 1:
            raise ValueError("it is no signature of a model")
        if not any(_has_signed(bundle, signer) for signer in signers):
            raise BadStatement("the package is signed, but by none whose signature counts in this fleet")
        said = msgspec.json.decode(envelope.payload, type=_Statement)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise BadStatement(f"the signature of the package cannot be read: {error}") from None
    resources = said.predicate.resources
    if said.predicate_type != PREDICATE or any(each.algorithm != "sha256" for each in resources):
        raise BadStatement("what signs the package lists no SHA-256 of its files")
    signed = {each.name: each.digest for each in resources}
    if wrong := sorted(name for name in signed.keys() | files.keys() if signed.get(name) != files.get(name)):
        raise BadStatement(f"the signature of the package is over other bytes: {', '.join(wrong[:3])}")


def _has_signed(bundle: _Bundle, signer: str) -> bool:
    envelope = bundle.dsse_envelope
    data = pae(MODEL, envelope.payload)
    if "BEGIN CERTIFICATE" not in signer:
        return signed_by(public_key(signer), envelope.signatures[0].sig, data)
    try:
        found = bundle.verification_material.x509_certificate_chain.get("certificates", ())
        chain = [x509.load_der_x509_certificate(each.raw_bytes) for each in found]
        key = chain_key(chain, x509.load_pem_x509_certificates(signer.encode()), at_its_start=True)
    except BROKEN:
        return False
    return signed_by(key, envelope.signatures[0].sig, data)
