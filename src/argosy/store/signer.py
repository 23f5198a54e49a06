"""The key of a platform that signs its ledger: Ed25519, in `HOME/ledger.key`, which is made at first use.

Whoever writes to the database without this file can break the chain of the ledger, and cannot continue it unnoticed.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from argosy.spec.errors import InvalidArgument
from argosy.store.durable import replace, storage

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ENTRY, HEAD = "argosy ledger entry 1", "argosy ledger head 1"
"""What is signed begins with what it is, so that no signature can stand for another thing."""


class Since(msgspec.Struct, frozen=True):
    """The last entry of a ledger that a key has not signed, by its hash; from there on all are signed."""

    seq: int
    hash: str


class _File(msgspec.Struct, kw_only=True):
    """What the file of a key holds: 32 bytes in hex, and since when it signs, by database."""

    private: str
    since: dict[str, Since] = {}


class Head(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The last entry of a ledger at a `time` (ISO 8601), signed, to be stored elsewhere. `key` is the public key and
    `signature` that of Ed25519 over `statement`, both in hex."""

    seq: int
    hash: str
    time: str
    key: str
    signature: str

    @property
    def statement(self) -> str:
        """What is signed after the line `argosy ledger head 1`."""
        return _statement(self.seq, self.hash, self.time)

    def check(self) -> None:
        """Raises InvalidArgument unless the signature is that of the key."""
        if not good(self.key, HEAD, self.statement, self.signature):
            raise InvalidArgument(f"the head of entry {self.seq} is not what was exported: its signature does not fit")


def _statement(seq: int, digest: str, time: str) -> str:
    return msgspec.json.encode({"hash": digest, "seq": seq, "time": time}, order="sorted").decode()


def good(key: str, what: str, text: str, signature: str) -> bool:
    """Whether a public key has signed this text as that."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(bytes.fromhex(signature), _message(what, text))
    except (InvalidSignature, ValueError):
        return False
    return True


def _message(what: str, text: str) -> bytes:
    return f"{what}\n{text}".encode()


class Signer:
    """The key of a home, for one `database`, by its name; empty: the one in the home. It is made, and read, when it is
    needed first."""

    def __init__(self, path: Path, database: str) -> None:
        self._path, self._database = path, database
        self._file: _File | None = None
        self.alone = not database
        """Whether no other home writes to this database: it is the one in the home."""

    def begin(self, seq: int, digest: str) -> None:
        """Sign from now on, after this last entry; it is noted in the file if this database is new to the key. Called
        in a transaction in which no other process adds to the ledger. Raises StorageFull."""
        known = self._file or self._read() or _File(private=os.urandom(32).hex())
        if self._database not in known.since:
            known = self._read() or known
            known.since.setdefault(self._database, Since(seq, digest))
            with storage(self._path):
                replace(self._path, msgspec.json.encode(known), self._path.parent, mode=0o600)
        self._file = known

    def since(self) -> Since | None:
        """From where on this key signs this database; None where it has not begun to."""
        known = self._file or self._read()
        return known.since.get(self._database) if known else None

    @property
    def public(self) -> str:
        """The public key in hex; empty before the first use."""
        known = self._file or self._read()
        return _private(known).public_key().public_bytes_raw().hex() if known else ""

    def sign(self, what: str, text: str) -> str:
        assert self._file is not None, "begin comes first"
        return _private(self._file).sign(_message(what, text)).hex()

    def head(self, seq: int, digest: str, time: str) -> Head:
        """A signed statement of the last entry."""
        signature = self.sign(HEAD, _statement(seq, digest, time))
        return Head(seq=seq, hash=digest, time=time, key=self.public, signature=signature)

    def _read(self) -> _File | None:
        """What the file holds. One that others could read is deleted: a new key is made, which the ledger records."""
        try:
            if self._path.stat().st_mode & 0o077:
                self._path.unlink()
                return None
            return msgspec.json.decode(self._path.read_bytes(), type=_File)
        except FileNotFoundError:
            return None
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise InvalidArgument(
                f"{self._path} is no key of a ledger: put it back, or remove it for a new one"
            ) from None


def _private(known: _File) -> "Ed25519PrivateKey":
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(known.private))
