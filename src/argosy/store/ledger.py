"""The ledger: what happened to what, by whom and why. Only ever added to, and chained by hashes.

An entry's hash is SHA-256 over the canonical JSON of everything else in it, the hash of the entry before included, so
that no entry can be altered, taken out or put in between without breaking the chain from there on. Entries are written
in the transaction of the change they tell of. Times never go backwards, even where the clock does.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec
import sqlalchemy as sa

from argosy.spec.secret import masked
from argosy.store.clock import now
from argosy.store.database import Database, metadata

ROOT = "0" * 64
"""What the first entry has as the hash of the one before."""

_APPEND_LOCK = 0x6172676F7C
_PAGE = 5000

ledger_table = sa.Table(
    "ledger",
    metadata,
    sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
    sa.Column("time", sa.String(32), nullable=False),
    sa.Column("subject", sa.String(127), nullable=False),
    sa.Column("event", sa.String(32), nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("previous", sa.String(64), nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
    sa.Index("ledger_at", "subject", "event", "time", "seq"),
    sa.Index("ledger_history", "subject", "seq"),
)
T = ledger_table.c


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


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The chain, hashed again. `broken` is the first entry that does not fit, for `reason`; None: all of them do.

    `head` is the hash of the last entry that does: kept elsewhere, it also proves that none was taken off the end.
    """

    entries: int
    head: str
    broken: int | None = None
    reason: str = ""


def append(
    connection: sa.Connection, subject: str, event: str, body: Mapping[str, Any], cause: Cause | None = None
) -> int:
    """Add an entry in the transaction of `connection`, as the last thing it does; its number.

    Appending takes turns until the transaction ends: a row lock taken after it could wait for one that waits for it.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_APPEND_LOCK)))
    last = connection.execute(sa.select(T.seq, T.time, T.hash).order_by(T.seq.desc()).limit(1)).one_or_none()
    cause = cause or Cause()
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
    connection.execute(sa.insert(ledger_table).values(row | {"hash": _hash(row)}))
    return seq


def entries(connection: sa.Connection, subject: str, limit: int = 100) -> list[Entry]:
    """The last entries about a subject, oldest first."""
    query = sa.select(ledger_table).where(T.subject == subject).order_by(T.seq.desc()).limit(limit)
    return [_entry(row) for row in reversed(connection.execute(query).all())]


def latest(connection: sa.Connection, subject: str, events: Collection[str], at: str = "") -> Entry | None:
    """The last entry of any of `events` about a subject, at the time `at` (ISO 8601 as `now()` writes it) or now."""
    found: list[Entry] = []
    for event in events:
        query = sa.select(ledger_table).where(T.subject == subject, T.event == event)
        query = query.where(T.time <= at) if at else query
        row = connection.execute(query.order_by(T.time.desc(), T.seq.desc()).limit(1)).one_or_none()
        found += [_entry(row)] if row else []
    return max(found, key=lambda entry: entry.seq, default=None)


def verify(database: Database) -> Verdict:
    """Hash the whole chain again, and name the first entry that does not fit."""
    seq, head = 0, ROOT
    with database.read() as connection:
        for row in _pages(connection):
            reason = _wrong(row, seq, head)
            if reason:
                return Verdict(entries=seq, head=head, broken=row["seq"], reason=reason)
            seq, head = row["seq"], row["hash"]
    return Verdict(entries=seq, head=head)


def _pages(connection: sa.Connection) -> Iterator[dict[str, Any]]:
    after: int | None = None
    while True:
        query = sa.select(ledger_table).order_by(T.seq).limit(_PAGE)
        rows = connection.execute(query if after is None else query.where(T.seq > after)).mappings().all()
        if not rows:
            return
        yield from (dict(row) for row in rows)
        after = rows[-1]["seq"]


def _wrong(row: dict[str, Any], seq: int, head: str) -> str:
    if row["seq"] != seq + 1:
        return f"entry {row['seq']} follows entry {seq}: what was between is missing"
    if row["previous"] != head:
        return f"entry {row['seq']} does not continue entry {seq}: its hash of the one before differs"
    if _hash({name: value for name, value in row.items() if name != "hash"}) != row["hash"]:
        return f"entry {row['seq']} is not what was written: its hash differs"
    return ""


def _hash(row: Mapping[str, Any]) -> str:
    return hashlib.sha256(msgspec.json.encode(row, order="sorted")).hexdigest()


def _entry(row: sa.Row[Any]) -> Entry:
    fields = dict(row._mapping)  # pyright: ignore[reportPrivateUsage]
    return Entry(**fields | {"body": masked(msgspec.json.decode(fields["body"]))})


def entry(connection: sa.Connection, seq: int) -> Entry | None:
    """The entry with this number."""
    row = connection.execute(sa.select(ledger_table).where(T.seq == seq)).one_or_none()
    return _entry(row) if row else None
