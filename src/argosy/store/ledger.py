"""The ledger: what happened to what, by whom and why. Only ever added to, and chained by hashes.

An entry's hash is SHA-256 over the canonical JSON of everything else in it, the hash of the entry before included, so
that no entry can be altered, taken out or put in between without breaking the chain from there on. Each is signed by
the key of the platform that wrote it (`signer.py`), so that nobody else can write the chain anew; entries of versions
that did not sign are covered by the first that is. Entries are written in the transaction of the change they record.
Times never go backwards, even where the clock does.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from argosy.spec.secret import masked
from argosy.store.database import metadata
from argosy.store.signer import ENTRY, Signer
from argosy.store.table import now, table_of

ROOT = "0" * 64
"""What the first entry has as the hash of the one before."""

_APPEND_LOCK = 0x6172676F7C


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """Who changes something, and why. The platform itself is `argosy`."""

    actor: str = "argosy"
    reason: str = ""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry. `subject` is the name of an endpoint, or `model@alias`; `time` is UTC in ISO 8601. What earlier
    versions wrote of secrets into `body` is hidden; `hash` is of what was written."""

    seq: int
    time: str
    subject: str
    event: str
    actor: str
    reason: str
    body: dict[str, Any]
    previous: str
    hash: str


_SEQ = sa.BigInteger().with_variant(sa.Integer, "sqlite")
ledger_table = table_of(
    metadata,
    "ledger",
    Entry,
    sa.Index("ledger_at", "subject", "event", "time", "seq"),
    sa.Index("ledger_history", "subject", "seq"),
    key=("seq",),
    seq=_SEQ,
    time=32,
    subject=127,
    event=32,
    body=sa.Text(),
    previous=64,
    hash=64,
)
signatures_table = sa.Table(
    "ledger_signatures",
    metadata,
    sa.Column("seq", _SEQ, primary_key=True, autoincrement=False),
    sa.Column("key", sa.String(64), nullable=False),
    sa.Column("signature", sa.String(128), nullable=False),
)
T, S = ledger_table.c, signatures_table.c


def append(
    connection: sa.Connection, subject: str, event: str, body: Mapping[str, Any], cause: Cause | None = None
) -> int:
    """Add an entry in the transaction of `connection`, as the last thing it does; its number.

    Appending takes turns until the transaction ends: a row lock taken after it could wait for one that waits for it.
    Where another key has signed the entry before, one comes first that says so.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_APPEND_LOCK)))
    signer: Signer | None = connection.get_execution_options().get("argosy_signer")
    last = last_of(connection)
    if signer is None:
        return _write(connection, last, subject, event, body, cause or Cause()).seq
    signer.begin(last.seq if last else 0, last.hash if last else ROOT)
    if last and last.key not in (None, signer.public):
        keys = {"key": signer.public, "before": last.key}
        reason = "another platform, or another key, writes from here on"
        last = _signed(connection, signer, _write(connection, last, "ledger", "key", keys, Cause(reason=reason)))
    return _signed(connection, signer, _write(connection, last, subject, event, body, cause or Cause())).seq


class Last(msgspec.Struct, frozen=True):
    """The end of the chain; `key` is None where it is not signed."""

    seq: int
    time: str
    hash: str
    key: str | None = None


def last_of(connection: sa.Connection) -> Last | None:
    """The end of the chain; None where it is empty."""
    query = sa.select(T.seq, T.time, T.hash, S.key).outerjoin(signatures_table, S.seq == T.seq)
    row = connection.execute(query.order_by(T.seq.desc()).limit(1)).one_or_none()
    return Last(row.seq, row.time, row.hash, row.key) if row else None


def _signed(connection: sa.Connection, signer: Signer, entry: Last) -> Last:
    row = {"seq": entry.seq, "key": signer.public, "signature": signer.sign(ENTRY, entry.hash)}
    connection.execute(sa.insert(signatures_table).values(row))
    return msgspec.structs.replace(entry, key=signer.public)


def _write(
    connection: sa.Connection, last: Last | None, subject: str, event: str, body: Mapping[str, Any], cause: Cause
) -> Last:
    seq: int = last.seq + 1 if last else 1
    row = {
        "seq": seq,
        "time": max(now(), last.time) if last else now(),
        "subject": subject,
        "event": event,
        "actor": cause.actor,
        "reason": cause.reason,
        "body": msgspec.json.encode(body, order="sorted").decode(),
        "previous": last.hash if last else ROOT,
    }
    written = digest(row)
    connection.execute(sa.insert(ledger_table).values(row | {"hash": written}))
    return Last(seq, str(row["time"]), written)


def entries(connection: sa.Connection, subject: str, limit: int = 100) -> list[Entry]:
    """The last entries about a subject, oldest first."""
    return _read(connection, T.subject == subject, order=(T.seq.desc(),), most=limit)[::-1]


def latest(connection: sa.Connection, subject: str, events: Collection[str], at: str = "") -> Entry | None:
    """The last entry of any of `events` about a subject, at the time `at` (ISO 8601 as `now()` writes it) or now."""
    found: list[Entry] = []
    for event in events:
        where = (T.subject == subject, T.event == event, *([T.time <= at] if at else []))
        found += _read(connection, *where, order=(T.time.desc(), T.seq.desc()), most=1)
    return max(found, key=lambda entry: entry.seq, default=None)


def first_actor(connection: sa.Connection, subject: str, event: str, *, after: str) -> str:
    """Whose the first entry of an event about a subject is, after the last one of another event; empty without one."""
    last = sa.select(sa.func.max(T.seq)).where(T.subject == subject, T.event == after).scalar_subquery()
    where = (T.subject == subject, T.event == event, T.seq > sa.func.coalesce(last, 0))
    return connection.execute(sa.select(T.actor).where(*where).order_by(T.seq).limit(1)).scalar() or ""


def of_event(connection: sa.Connection, event: str, *where: sa.ColumnElement[bool]) -> list[Entry]:
    """Every entry of an event that fits, oldest first."""
    return _read(connection, T.event == event, *where, order=(T.seq,))


def digest(row: Mapping[str, Any]) -> str:
    """The hash of an entry: SHA-256, in hex, over the canonical JSON of all its other fields."""
    return hashlib.sha256(msgspec.json.encode(row, order="sorted")).hexdigest()


def entry(connection: sa.Connection, seq: int) -> Entry | None:
    return next(iter(_read(connection, T.seq == seq, order=())), None)


def _read(
    connection: sa.Connection, *where: sa.ColumnElement[bool], order: Sequence[Any], most: int | None = None
) -> list[Entry]:
    rows = connection.execute(sa.select(ledger_table).where(*where).order_by(*order).limit(most)).mappings()
    return [Entry(**{**row, "body": masked(msgspec.json.decode(row["body"]))}) for row in rows]
