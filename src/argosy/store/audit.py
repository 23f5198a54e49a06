"""The ledger, verified: its chain, who signed it, and whether it continues what was exported before."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import sqlalchemy as sa

from argosy.spec.errors import InvalidArgument
from argosy.store import ledger
from argosy.store.database import Database
from argosy.store.ledger import ROOT, Last, S, T, ledger_table, signatures_table
from argosy.store.signer import ENTRY, Head, Since, good
from argosy.store.table import now

_PAGE = 5000


class Signed(msgspec.Struct, frozen=True, kw_only=True):
    """The entries from `first` to `last`, signed by the public `key` (hex). `own`: it is that of this home."""

    key: str
    first: int
    last: int
    own: bool


class LedgerAudit(msgspec.Struct, frozen=True, kw_only=True):
    """The chain, hashed again. `broken` is the first entry that does not fit, for `reason`; None: all of them do.

    `head` is the hash of the last entry that does. `signed` says who signed them, in rows of entries with the same
    key; those before the first row are of versions that did not sign.
    """

    entries: int
    head: str
    broken: int | None = None
    reason: str = ""
    signed: tuple[Signed, ...] = ()


def head(database: Database) -> Head:
    """The end of the ledger as it is now, signed, to be stored elsewhere. Raises InvalidArgument without a key."""
    signer = database.signer
    if signer is None:
        raise InvalidArgument("this database was opened without a home, so that there is no key to sign its head")
    with database.begin(fenced=False) as connection:
        last = ledger.last_of(connection) or Last(0, "", ROOT)
        signer.begin(last.seq, last.hash)
        return signer.head(last.seq, last.hash, now())


def verify(database: Database, heads: Iterable[Head] = ()) -> LedgerAudit:
    """Hash the whole chain again, check its signatures, and name the first entry that does not fit: the chain, one of
    the exported `heads`, or the entry from which this home's key signs. Raises InvalidArgument for an altered head."""
    signer = database.signer
    since = signer.since() if signer else None
    audit = _Audit(signer.public if signer else "", since, bool(signer and signer.alone), heads)
    with database.read() as connection:
        for row in _pages(connection):
            if reason := audit.next(row):
                return audit.verdict(row["seq"], reason)
    return audit.end()


class _Audit:
    """What is known of the chain so far. `pins`: entry → its hash, and who says so."""

    def __init__(self, own: str, since: Since | None, alone: bool, heads: Iterable[Head]) -> None:
        self._own, self._since, self._alone = own, since, alone
        self._seq, self._hash, self._signed = 0, ROOT, list[Signed]()
        self._pins: dict[int, list[tuple[str, str]]] = {}
        if since is not None:
            self._pins[since.seq] = [(since.hash, "the key of this home")]
        for each in heads:
            each.check()
            self._pins.setdefault(each.seq, []).append((each.hash, f"the head exported at {each.time}"))

    def next(self, row: dict[str, Any]) -> str:
        """Go on to the next entry; what is wrong with it."""
        key, signature = row.pop("key"), row.pop("signature")
        seq, digest = row["seq"], row["hash"]
        if reason := self._unchained(row) or self._unsigned(seq, digest, key, signature):
            return reason
        for known, who in self._pins.pop(seq, ()):
            if known != digest:
                return f"entry {seq} is not the one that {who} tells of: the ledger was written anew"
        self._seq, self._hash = seq, digest
        if key is not None:
            first = self._signed.pop().first if self._signed and self._signed[-1].key == key else seq
            self._signed.append(Signed(key=key, first=first, last=seq, own=key == self._own))
        return ""

    def _unchained(self, row: dict[str, Any]) -> str:
        seq = row["seq"]
        if seq != self._seq + 1:
            return f"entry {seq} follows entry {self._seq}: what was between is missing"
        if row["previous"] != self._hash:
            return f"entry {seq} does not continue entry {self._seq}: its hash of the one before differs"
        if ledger.digest({name: value for name, value in row.items() if name != "hash"}) != row["hash"]:
            return f"entry {seq} is not what was written: its hash differs"
        return ""

    def _unsigned(self, seq: int, digest: str, key: str | None, signature: str | None) -> str:
        """In a database that only one home writes to, its key has signed everything since it was made."""
        ours = self._since is not None and seq > self._since.seq
        if key is None or signature is None:
            return f"entry {seq} is not signed, and those before it are" if ours or self._signed else ""
        if not good(key, ENTRY, digest, signature):
            return f"entry {seq} does not have the signature of the key {key[:16]}…"
        if ours and self._alone and key != self._own:
            return f"entry {seq} is signed by the key {key[:16]}…, and not by that of this home, {self._own[:16]}…"
        return ""

    def end(self) -> LedgerAudit:
        """The verdict once all entries were read."""
        if (seq := min((each for each in self._pins if each > self._seq), default=0)) > 0:
            who = self._pins[seq][0][1]
            return self.verdict(self._seq + 1, f"the ledger ends at entry {self._seq}; {who} tells of entry {seq}")
        return self.verdict()

    def verdict(self, broken: int | None = None, reason: str = "") -> LedgerAudit:
        """The verdict on the entries read so far."""
        signed = tuple(self._signed)
        return LedgerAudit(entries=self._seq, head=self._hash, broken=broken, reason=reason, signed=signed)


def _pages(connection: sa.Connection) -> Iterator[dict[str, Any]]:
    after: int | None = None
    signed = sa.outerjoin(ledger_table, signatures_table, S.seq == T.seq)
    query = sa.select(ledger_table, S.key, S.signature).select_from(signed).order_by(T.seq).limit(_PAGE)
    while True:
        rows = connection.execute(query if after is None else query.where(T.seq > after)).mappings().all()
        if not rows:
            return
        yield from (dict(row) for row in rows)
        after = rows[-1]["seq"]
