"""All that is known of an endpoint over some days, gathered from its home, and as one page that needs nothing else.

No platform needs to run. The page has no script and nothing from elsewhere; it is for screens of both colours and for
paper.
"""

import base64
import hashlib
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from markupsafe import Markup

import argosy
from argosy.api import traffic as traffic_api
from argosy.api.traffic import Minute
from argosy.console import chart, words
from argosy.console.heat import drifted, heat, level
from argosy.console.monitoring import DRIFT, QUALITY, effects, quality
from argosy.console.pages import HERE, environment
from argosy.monitoring.drift.compare import Compared, compare
from argosy.monitoring.drift.distribution import Distribution, distribution
from argosy.monitoring.drift.reference import baseline, before, fitting
from argosy.packaging.package import open_package
from argosy.profiles import files
from argosy.profiles.profile import named
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
    counts, window = base.counts, base.came(recorded)
    if base.learned:
        past = before(store.home.profiles, name, revision.version, base, ends[0], "")
        if past is None:
            return (), recorded.rows, "nothing was recorded before this time that this could be compared with"
        counts = base.came(past)
    places = {column.name: place for place, column in enumerate(base.where.columns)}
    found: list[ColumnReport] = []
    for one in compare(base.where, counts, window):
        place = places[one.column]
        column = base.where.columns[place]
        if not named(column, log.redact):
            closed = named(column, log.hash)
            shape = distribution(column, counts[place], window[place], closed=closed)
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


STYLES = ("console.css", "report.css")
MOST_BYTES = 2 * 1024 * 1024
MOST_ROWS = 60
"""Rows of the heat map; what drifted stands first."""
MOST_LISTED = 200
DRAWN = (40, 20, 8, 0)
"""Columns whose distributions are drawn: fewer where the page would grow too large."""


def page(report: EndpointReport) -> str:
    """HTML of at most 2 MB."""
    style = "".join((HERE / "static" / name).read_text() for name in STYLES)
    template = environment().get_template("report.html")
    whole = heat(report.of(*DRIFT))
    times = [each.at for each in report.minutes]
    rates = chart.ChartLine("main", "requests a second", [each.requests / each.seconds for each in report.minutes])
    metrics = dict.fromkeys(each.subject for each in report.of("estimate", "realised"))
    common = {
        "one": report,
        "argosy": argosy.__version__,
        "style": Markup(style),
        "digest": base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        "windows": len({each.window_end for each in report.of(*DRIFT)}),
        "columns": _drifted_columns(report),
        "heat": msgspec.structs.replace(whole, rows=whole.rows[:MOST_ROWS]),
        "moved": drifted,
        "level": level,
        "watched": [_comparison(report, each) for each in report.last("multivariate")],
        "metrics": [quality(name, report.of(*QUALITY)) for name in metrics],
        "notes": report.last("reconcile"),
        "slos": report.last("slo"),
        "traffic": chart.lines(times, [rates], "requests a second", words.rate),
        "listed": report.columns[:MOST_LISTED],
    }
    shown = sorted((each for each in report.columns if each.distribution), key=lambda each: not each.drifted)
    text = ""
    for most in DRAWN:
        drawn = [(each, _overlay(each.column, each.distribution)) for each in shown[:most] if each.distribution]
        text = template.render(common | {"drawn": drawn})
        if len(text.encode(errors="replace")) <= MOST_BYTES:
            break
    return text


def _drifted_columns(report: EndpointReport) -> tuple[int, int]:
    """How many columns have drifted, and of how many: in the last window, or without one over the whole time."""
    found = [drifted(each) for each in report.last("drift", "prediction") if "segment" not in each.detail]
    found = found or [each.drifted for each in report.columns if each.effect]
    return sum(found), len(found)


def _overlay(column: str, shape: Distribution) -> Markup:
    sides = [tuple(count / (sum(side) or 1) for count in side) for side in (shape.reference, shape.current)]
    return chart.overlay(sides[0], sides[1], shape.labels, f"distributions of {column}")


def _comparison(report: EndpointReport, last: Finding) -> dict[str, Any]:
    found = [each for each in report.of("multivariate") if each.subject == last.subject]
    causes = [(str(each["name"]), float(each["weight"])) for each in last.detail.get("causes", ())]
    drawing = effects(found, f"{last.subject} over time", from_zero=False)
    return {"last": last, "causes": causes, "effects": drawing}
