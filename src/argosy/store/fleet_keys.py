"""The key by which a platform signs the updates of its fleets: P-256, in `HOME/fleet.key`, made at first use.

Devices believe it and no other, so that whoever holds the database, or stands between, gives them nothing. Homes that
share a database share it: a row in it. Another key can follow: a statement of the keys that count from then on, signed
by the one before, which devices get with their next session.
"""

import hmac
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from argosy.spec.errors import InvalidArgument
from argosy.store import ledger
from argosy.store.database import Database, metadata
from argosy.store.durable import replace, storage
from argosy.store.ledger import Cause
from argosy.store.table import RowMapper, add, table_of

KEPT = 3
"""Keys that count at one time."""
_END = b"-----END PRIVATE KEY-----\n"

fleet_key_table = sa.Table(
    "fleet_key",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("pem", sa.Text, nullable=False),
)


class SignedKeys(msgspec.Struct, frozen=True, kw_only=True):
    """The public keys that count from a `number` on, and the statement of that, which a key before them signed."""

    number: int
    keys: tuple[str, ...]
    envelope: bytes


sets_table = table_of(metadata, "fleet_key_sets", SignedKeys, key=("number",), envelope=sa.LargeBinary())
SETS = RowMapper(sets_table, SignedKeys)


class FleetKeys:
    """The keys of a home at `path`, the newest first; with `shared`, all homes of the database have them."""

    def __init__(self, path: Path, database: Database, *, shared: bool) -> None:
        self._path, self._database, self._shared = path, database.create(), shared
        self._lock = threading.RLock()
        self._held: list[ec.EllipticCurvePrivateKey] = []
        self._last = SignedKeys(number=1, keys=(), envelope=b"")

    @property
    def current(self) -> ec.EllipticCurvePrivateKey:
        """The key that signs. Raises InvalidArgument, StorageFull."""
        with self._lock:
            if not self._held:
                self._load()
            return next(each for each in self._held if _pem(each) in self._last.keys)

    @property
    def pem(self) -> str:
        """Its public half."""
        return _pem(self.current)

    @property
    def public(self) -> SignedKeys:
        """Those that devices are to believe."""
        with self._lock:
            _ = self.current
            return self._last

    def since(self, number: int) -> list[bytes]:
        """The statements of all sets after that one."""
        if number >= self.public.number:
            return []
        found = SETS.read(self._database, sets_table.c.number > number, order=(sets_table.c.number,))
        return [each.envelope for each in found]

    def secret(self, what: str) -> bytes:
        """A secret that follows from the key, for one use of many."""
        number = self.current.private_numbers().private_value.to_bytes(32, "big")
        return hmac.digest(number, f"argosy {what}".encode(), "sha256")

    def rotate(
        self,
        sign: Callable[[int, tuple[str, ...], ec.EllipticCurvePrivateKey], bytes],
        *,
        retire: bool,
        cause: Cause,
    ) -> SignedKeys:
        """Have a new key sign from now on; `sign` makes the statement with the one before. With `retire` no other one
        counts any more. The key is on the disk before it counts."""
        with self._lock:
            old, fresh = self.current, ec.generate_private_key(ec.SECP256R1())
            keys = (_pem(fresh), *(() if retire else self._last.keys))[:KEPT]
            held = [fresh, *(each for each in self._held if _pem(each) in self._last.keys)]
            found = SignedKeys(number=self._last.number + 1, keys=keys, envelope=b"")
            found = msgspec.structs.replace(found, envelope=sign(found.number, keys, old))
            data = b"".join(map(_private, held))
            with storage(self._path):
                replace(self._path, data, self._path.parent, mode=0o600)
            with self._database.begin() as connection:
                SETS.add(connection, [found])
                if self._shared:
                    connection.execute(sa.update(fleet_key_table).values(pem=data.decode("ascii")))
                ledger.append(connection, "fleet", "key", {"number": found.number, "retire": retire}, cause)
            self._held, self._last = held, found
            return found

    def _load(self) -> None:
        """What all homes of the database have, or what lies here, or a new one."""
        there = self._path.exists()
        if there and self._path.stat().st_mode & 0o077:
            raise InvalidArgument(
                f"others can read {self._path}, which signs for all fleets: if nobody has, chmod 600 it; else remove "
                "it and enrol all devices anew"
            )
        found = self._path.read_bytes() if there else b""
        data = found or _private(ec.generate_private_key(ec.SECP256R1()))
        if self._shared:
            with self._database.begin() as connection:
                add(connection, fleet_key_table, [{"id": 1, "pem": data.decode("ascii")}])
                data = connection.execute(sa.select(fleet_key_table.c.pem)).scalar_one().encode("ascii")
        try:
            held = [load_pem_private_key(part + _END, None) for part in data.split(_END)[:-1]]
        except ValueError:
            held = []
        keys = [each for each in held if isinstance(each, ec.EllipticCurvePrivateKey)]
        last = SETS.read(self._database, order=(sets_table.c.number.desc(),), most=1)
        public = last[0] if last else SignedKeys(number=1, keys=tuple(map(_pem, keys[-1:])), envelope=b"")
        if not {*public.keys} & {*map(_pem, keys)}:
            raise InvalidArgument(f"{self._path} is no key of these fleets: put it back, or enrol all devices anew")
        if data != found:
            with storage(self._path):
                replace(self._path, data, self._path.parent, mode=0o600)
        self._held, self._last = keys, public


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")
