"""What monitoring found, one row for each subject and window: drift, estimates, realised performance."""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from enum import StrEnum
from typing import Any

import msgspec
import sqlalchemy as sa

from argosy.spec.foreign import printable
from argosy.store.database import Database, metadata
from argosy.store.table import RowMapper, table_of

DAYS = 90
"""For how long findings are retained."""

LONGEST = 200


class Verdict(StrEnum):
    """What a finding says. Those of `UNDECIDED` are stored with their reason, after a colon."""

    DRIFT = "drift"
    NO_DRIFT = "no drift"
    EXPECTED = "as expected"
    BELOW = "below"
    FELL = "fell"
    MEASURED = "measured"
    AGREES = "agrees"
    DIFFERS = "the estimate was too good"
    BURNING = "burns too fast"
    WITHIN = "within the objective"
    NOT_YET = "not yet"
    NOT_ESTIMABLE = "not estimable"
    NOT_JOINED = "not joined"
    NONE = ""

    @classmethod
    def _missing_(cls, value: object) -> "Verdict":
        return cls.NONE


UNDECIDED = (Verdict.NOT_YET, Verdict.NOT_ESTIMABLE, Verdict.NOT_JOINED)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What was found at `at` of a `subject` (a column, an output, a metric) in a window; times in seconds since 1970.

    `kind` is drift, prediction, multivariate, estimate, realised, reconcile or slo. `effect` is the size of a drift,
    or the value of a metric, and lies in `low` to `high`. `verdict` is a Verdict, with the reason where nothing can be
    said. `detail` may have `margin` (the effect from which it matters), `zero` (the effect that is none at all, if not
    0), `labels`, `reference` and `current` (the same bins of both distributions), `maturity` (the share of labels that
    have come) and `text`.

    Performance is one row a metric: beyond the margin a value is FELL if that is proven, else BELOW; without a
    reference it is MEASURED. Its detail has `reference` (the metric on the reference rows), `domain_auc` (how well a
    classifier tells window from reference), `labelled` and `served`.
    """

    endpoint: str
    version: str
    kind: str
    subject: str
    window_end: float
    window_start: float
    at: float
    rows: int
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    log_e: float | None = None
    verdict: str = ""
    detail: dict[str, Any] = {}

    @property
    def outcome(self) -> Verdict:
        """The verdict without its reason."""
        return Verdict(self.verdict.partition(": ")[0])

    @property
    def undecided(self) -> bool:
        """Whether nothing can be said of this window."""
        return self.outcome in UNDECIDED


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """A window of one version of an endpoint, evaluated at `at`; times in seconds since 1970."""

    endpoint: str
    version: str
    start: float
    end: float
    at: float

    def finding(self, kind: str, subject: str, rows: int, verdict: str, **more: Any) -> Finding:
        return Finding(
            endpoint=self.endpoint,
            version=self.version,
            kind=kind,
            subject=subject,
            at=self.at,
            window_start=self.start,
            window_end=self.end,
            rows=rows,
            verdict=str(verdict),
            **more,
        )


findings_table = table_of(
    metadata,
    "findings",
    Finding,
    sa.Index("findings_age", "endpoint", "window_end"),
    key=("endpoint", "version", "kind", "subject", "window_end"),
    endpoint=63,
    version=80,
    kind=16,
    subject=512,
    rows=sa.BigInteger,
)
F = findings_table.c
ROWS = RowMapper(findings_table, Finding)


def subject(name: str) -> str:
    """What users name freely (a column), as a subject: printable, at most 200 characters, and still one of its own."""
    plain = printable(name[: LONGEST + 1], "?")
    if plain == name and len(name) <= LONGEST:
        return name
    return f"{plain[: LONGEST - 10]}… {hashlib.sha256(name.encode(errors='replace')).hexdigest()[:8]}"


def write(database: Database, found: Sequence[Finding]) -> None:
    """Write findings; what was found before of the same window is replaced. Raises Unavailable, StorageFull."""
    if not found:
        return
    with database.begin() as connection:
        put(connection, found)


def put(connection: sa.Connection, found: Iterable[Finding]) -> None:
    """The same in the transaction of `connection`."""
    ROWS.put(connection, found)


def read(database: Database, endpoint: str, kinds: Collection[str], since: float) -> list[Finding]:
    """What was found in windows that ended after `since`, oldest first."""
    where = (F.endpoint == endpoint, F.kind.in_(list(kinds)), F.window_end > since)
    return ROWS.read(database, *where, order=(F.window_end, F.kind, F.subject))


class Tally(msgspec.Struct, frozen=True):
    """So many subjects of an endpoint that findings of one kind are of, and those of them that drifted."""

    endpoint: str
    kind: str
    subjects: int
    drifted: int


def tally(database: Database, since: float) -> list[Tally]:
    """What was found in windows that ended after `since`, counted. Raises Unavailable."""
    drifted = sa.case((F.verdict == Verdict.DRIFT, F.subject))
    counts = (sa.func.count(F.subject.distinct()), sa.func.count(drifted.distinct()))
    query = sa.select(F.endpoint, F.kind, *counts).where(F.window_end > since).group_by(F.endpoint, F.kind)
    with database.read() as connection:
        return [Tally(*row) for row in connection.execute(query.order_by(F.endpoint, F.kind))]


def any_of(database: Database) -> bool:
    """Whether anything has been found yet."""
    return ROWS.any(database)


def forget(database: Database, now: float) -> None:
    """Delete what is older than 90 days."""
    with database.begin() as connection:
        connection.execute(sa.delete(findings_table).where(F.window_end < now - DAYS * 86400))
