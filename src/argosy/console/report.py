"""All that is known of an endpoint over some days, gathered from its home: no platform needs to run."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from argosy.api import traffic as traffic_api
from argosy.api.traffic import Minute
from argosy.console.monitoring import DRIFT, QUALITY
from argosy.monitoring.drift.compare import Compared, compare
from argosy.monitoring.drift.distribution import Distribution, distribution
from argosy.monitoring.drift.reference import baseline, fitting
from argosy.packaging.package import open_package
from argosy.profiles import files
from argosy.profiles.privacy import named
from argosy.spec.errors import ArgosyError
from argosy.spec.package import Lineage
from argosy.spec.payload import PayloadLog
from argosy.spec.revision import Revision
from argosy.store import alerts, findings, ledger
from argosy.store.alerts import Alert
from argosy.store.endpoints import SERVED, Endpoints
from argosy.store.findings import Finding, subject
from argosy.store.store import Store

ALERTS = 100
CHANGES = 50
HOUR = 3600


class ColumnReport(msgspec.Struct, frozen=True, kw_only=True):
    """One column over the whole time against the reference. `e` is the evidence, as odds against chance."""

    column: str
    side: str
    rows: int
    drifted: bool
    e: float | None = None
    effect: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    margin: float | None = None
    distribution: Distribution | None = None


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """From `time` on these versions served, with their percent of the traffic; who had changed that, and why."""

    time: str
    versions: tuple[tuple[str, int], ...]
    actor: str
    reason: str


class EndpointReport(msgspec.Struct, frozen=True, kw_only=True):
    """Times are seconds since 1970. `rows` were recorded in profiles, `requests` counted by the gateway. `trouble` says
    why columns were not compared."""

    endpoint: str
    model: str
    version: str
    digest: str
    since: float
    until: float
    rows: int = 0
    requests: int = 0
    errors: int = 0
    columns: tuple[ColumnReport, ...] = ()
    trouble: str = ""
    findings: tuple[Finding, ...] = ()
    alerts: tuple[Alert, ...] = ()
    served: tuple[Served, ...] = ()
    lineage: tuple[Lineage, ...] = ()
    minutes: tuple[Minute, ...] = ()

    def of(self, *kinds: str) -> list[Finding]:
        """What was found of these kinds, oldest first."""
        return [each for each in self.findings if each.kind in kinds]

    def last(self, *kinds: str) -> list[Finding]:
        """The last finding of each subject."""
        return list({(each.kind, each.subject): each for each in self.of(*kinds)}.values())


def gather(store: Store, name: str, since: float, until: float | None = None) -> EndpointReport:
    """Raises NotFound where there is no such endpoint."""
    until = time.time() if until is None else until
    declared, revision = Endpoints(store.database).served(name)
    version = store.registry.resolve(f"{revision.model}:{revision.version}")
    minutes = traffic_api.over_time(store.database, name, since, HOUR)
    columns, rows, trouble = _columns(store, name, revision, declared.endpoint.payload or PayloadLog(), since, until)
    shown = [
        each
        for each in alerts.read(store.database, name)
        if each.state != "resolved" or (each.until or each.since) >= since
    ]
    try:
        lineage = store.lineage(version.digest)
    except ArgosyError:
        lineage = [version.lineage]
    return EndpointReport(
        endpoint=name,
        model=version.name,
        version=revision.version,
        digest=version.digest,
        since=since,
        until=until,
        rows=rows,
        requests=sum(each.requests for each in minutes),
        errors=sum(each.errors for each in minutes),
        columns=columns,
        trouble=trouble,
        findings=tuple(findings.read(store.database, name, (*DRIFT, *QUALITY, "slo"), since)),
        alerts=tuple(shown[:ALERTS]),
        served=_served(store, name, since),
        lineage=tuple(lineage),
        minutes=tuple(minutes),
    )


def _columns(
    store: Store, name: str, revision: Revision, log: PayloadLog, since: float, until: float
) -> tuple[tuple[ColumnReport, ...], int, str]:
    """Every column that is not redacted, the strongest evidence first."""
    try:
        base = baseline(open_package(store.unpacked(revision.digest)))
    except ArgosyError as error:
        return (), 0, error.message
    ends = (datetime.fromtimestamp(since, UTC), datetime.fromtimestamp(until, UTC))
    recorded = fitting(base, files.read(store.home.profiles, name, revision.version, *ends))
    if recorded is None:
        return (), 0, "nothing was recorded in this time against the reference of the version that serves"
    window = base.came(recorded)
    places = {column.name: place for place, column in enumerate(base.where.columns)}
    found: list[ColumnReport] = []
    for one in compare(base.where, base.counts, window):
        place = places[one.column]
        column = base.where.columns[place]
        if not named(column, log.redact):
            closed = named(column, log.hash)
            shape = distribution(column, base.counts[place], window[place], closed=closed)
            found.append(_column(one, column.side, shape))
    return tuple(found), recorded.rows, ""


def _column(one: Compared, side: str, shape: Distribution | None) -> ColumnReport:
    found = ColumnReport(column=subject(one.column), side=side, rows=one.rows, drifted=False)
    if not one.effects:
        return found
    effect = one.effects[0]
    return msgspec.structs.replace(
        found,
        drifted=one.drifted,
        e=one.e,
        effect=effect.name,
        value=float(effect.value),
        low=float(effect.low),
        high=float(effect.high),
        margin=effect.margin,
        distribution=shape,
    )


def _served(store: Store, name: str, since: float) -> tuple[Served, ...]:
    """Each change of what serves, the newest first, and the one in effect at the beginning."""
    with store.database.read() as connection:
        entries = [each for each in ledger.entries(connection, name, 1000) if each.event in SERVED]
    found: list[Served] = []
    for each in reversed(entries):
        traffic: Sequence[dict[str, Any]] = each.body.get("traffic", ())
        versions = tuple((str(one.get("version", "")), int(one.get("weight", 0))) for one in traffic)
        found.append(Served(time=each.time, versions=versions, actor=each.actor, reason=each.reason))
        if datetime.fromisoformat(each.time).timestamp() <= since or len(found) == CHANGES:
            break
    return tuple(found)
