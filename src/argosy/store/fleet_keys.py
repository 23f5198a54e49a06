"""The key by which a platform signs the updates of its fleets: P-256, in `HOME/fleet.key`, made at first use.

Devices believe it and no other, so that whoever holds the database, or stands between, gives them nothing. Homes that
share a database share it: a row in it.
"""

import hmac
import threading
from pathlib import Path

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
from argosy.store.database import Database, metadata
from argosy.store.durable import replace, storage
from argosy.store.table import add

fleet_key_table = sa.Table(
    "fleet_key",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("pem", sa.Text, nullable=False),
)


class FleetKeys:
    """The key of a home at `path`, which others share that have the same `database`; None: it is this home's alone."""

    def __init__(self, path: Path, database: Database | None) -> None:
        self._path, self._database = path, database
        self._lock = threading.Lock()
        self._key: ec.EllipticCurvePrivateKey | None = None

    @property
    def current(self) -> ec.EllipticCurvePrivateKey:
        """The key that signs. Raises InvalidArgument, StorageFull."""
        with self._lock:
            if self._key is None:
                self._key = self._load()
            return self._key

    @property
    def pem(self) -> str:
        """Its public half."""
        public = self.current.public_key()
        return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")

    def secret(self, what: str) -> bytes:
        """A secret that follows from the key, for one use of many."""
        number = self.current.private_numbers().private_value.to_bytes(32, "big")
        return hmac.digest(number, f"argosy {what}".encode(), "sha256")

    def _load(self) -> ec.EllipticCurvePrivateKey:
        """What all homes of the database have, or what lies here, or a new one."""
        there = self._path.exists()
        if there and self._path.stat().st_mode & 0o077:
            raise InvalidArgument(
                f"others can read {self._path}, which signs for all fleets: if nobody has, chmod 600 it; else remove "
                "it and enrol all devices anew"
            )
        found = self._path.read_bytes() if there else b""
        data = found or _new()
        if self._database is not None:
            with self._database.create().begin() as connection:
                add(connection, fleet_key_table, [{"id": 1, "pem": data.decode("ascii")}])
                data = connection.execute(sa.select(fleet_key_table.c.pem)).scalar_one().encode("ascii")
        try:
            key = load_pem_private_key(data, None)
        except ValueError:
            key = None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise InvalidArgument(f"{self._path} is no key of fleets: put it back, or remove it and enrol devices anew")
        if data != found:
            with storage(self._path):
                replace(self._path, data, self._path.parent, mode=0o600)
        return key


def _new() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
