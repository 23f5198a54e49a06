"""The signature of a package as others read it: a statement in a DSSE envelope in a Sigstore bundle.

Sources: OpenSSF model signing 1.0, DSSE v1.0.0, Sigstore bundle v0.3 (JSON). `model_signing verify` takes what this
writes, and this reads what `model_signing sign key` and `sign certificate` write.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from argosy.spec.errors import BadSignature, InvalidArgument
from argosy.spec.strict import parse
from argosy.store.manifest import MAX_DOCUMENT, canonical
from argosy.trust import keys
from argosy.trust.statement import check_statement, statement

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
"""Media type of a bundle, and the artifact type under which it is attached to a package."""
PAYLOAD = "application/vnd.in-toto+json"


class _Certificate(msgspec.Struct, frozen=True, rename="camel"):
    raw_bytes: bytes


class _Material(msgspec.Struct, frozen=True, rename="camel"):
    public_key: dict[str, Any] = {}
    x509_certificate_chain: dict[str, tuple[_Certificate, ...]] = {}


class _Signature(msgspec.Struct, frozen=True):
    sig: bytes


class _Envelope(msgspec.Struct, frozen=True, rename="camel"):
    payload: bytes
    payload_type: str
    signatures: tuple[_Signature, ...]


class Bundle(msgspec.Struct, frozen=True, rename="camel"):
    """A signature and what is needed to verify it. Fields of a transparency log are passed over."""

    media_type: str
    verification_material: _Material
    dsse_envelope: _Envelope

    @property
    def hint(self) -> str:
        """What names the key that signed: SHA-256 of its PEM text; empty where a certificate names the signer."""
        return str(self.verification_material.public_key.get("hint") or "")

    @property
    def chain(self) -> list[x509.Certificate]:
        """The signing certificate and its issuers; empty where a plain key signed. Raises BadSignature."""
        found = self.verification_material.x509_certificate_chain.get("certificates", ())
        try:
            return [x509.load_der_x509_certificate(each.raw_bytes) for each in found]
        except keys.BROKEN as error:
            raise BadSignature(f"the signature holds what is no certificate: {error}") from None

    @property
    def signer(self) -> str:
        """Who says to have signed: the names of the certificate, or the beginning of the key's hash."""
        if chain := self.chain:
            try:
                return ", ".join(keys.identities(chain[0])) or chain[0].subject.rfc4514_string()
            except keys.BROKEN:
                return "a certificate that cannot be read"
        return f"key {self.hint[:16]}" if self.hint else "a keyless signature"

    def check_files(self, files: Mapping[str, str]) -> None:
        """Raises BadSignature unless the signature, whoever made it, is over exactly these files (path → SHA-256)."""
        check_statement(self.dsse_envelope.payload, files)

    def check_key(self, key: keys.PublicKey) -> None:
        """Raises BadSignature unless this key has signed."""
        if self.hint not in ("", keys.hint(key)):
            raise BadSignature(f"another key has signed it, not {keys.hint(key)[:16]}")
        if not keys.good(key, self.dsse_envelope.signatures[0].sig, pae(self.dsse_envelope.payload)):
            raise BadSignature(f"the signature is not that of the key {keys.hint(key)[:16]}")

    def check_authority(self, roots: list[x509.Certificate], identity: str = "") -> None:
        """Raises BadSignature unless a certificate that leads to one of the roots, and names `identity`, has signed."""
        if not self.chain:
            raise BadSignature(f"it is signed by {self.signer}, without a certificate of an authority")
        self.check_key(keys.check_chain(self.chain, roots, identity))


def pae(payload: bytes) -> bytes:
    """What is signed: the payload after its type and both lengths, so that it can stand for nothing else."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD), PAYLOAD.encode(), len(payload), payload)


def sign(name: str, files: Mapping[str, str], key: keys.PrivateKey, chain: Sequence[x509.Certificate] = ()) -> bytes:
    """A bundle over the files (path → SHA-256 in hex) of the package `name`, by this key, or by the certificate that
    comes first in `chain`, before its issuers. Raises InvalidArgument where that is another key's."""
    payload, public = statement(name, files), key.public_key()
    if chain and chain[0].public_key() != public:
        raise InvalidArgument("the first certificate of the chain is not that of the key: begin with the signer's own")
    certificates = [{"rawBytes": each.public_bytes(Encoding.DER)} for each in chain]
    by = (
        {"x509CertificateChain": {"certificates": certificates}}
        if chain
        else {"publicKey": {"hint": keys.hint(public)}}
    )
    signature = key.sign(pae(payload), ec.ECDSA(keys.HASHES[public.curve.name]))
    envelope = {"payload": payload, "payloadType": PAYLOAD, "signatures": [{"sig": signature, "keyid": ""}]}
    return canonical({"mediaType": BUNDLE, "verificationMaterial": by | {"tlogEntries": []}, "dsseEnvelope": envelope})


def read(data: bytes, where: str) -> Bundle:
    """Bytes → bundle, its form checked, its signature not. Raises BadSignature naming `where`."""
    if len(data) > MAX_DOCUMENT:
        raise BadSignature(f"{where} is larger than {MAX_DOCUMENT} bytes")
    found = parse(data, Bundle, f"{where} is no Sigstore bundle of a signed model", BadSignature)
    if found.media_type != BUNDLE or found.dsse_envelope.payload_type != PAYLOAD:
        raise BadSignature(f"{where} is no Sigstore bundle v0.3 of an in-toto statement ({found.media_type[:80]})")
    if len(found.dsse_envelope.signatures) != 1:
        raise BadSignature(f"{where} holds {len(found.dsse_envelope.signatures)} signatures in place of one")
    return found
