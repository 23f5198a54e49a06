"""A report as one page that needs nothing else: no script, nothing from elsewhere; for screens of both colours and for
paper."""

import base64
import hashlib

import msgspec
from markupsafe import Markup

import argosy
from argosy.console import chart, words
from argosy.console.heat import drifted, heat, level
from argosy.console.monitoring import DRIFT, QUALITY, effects, quality
from argosy.console.pages import HERE, environment
from argosy.console.report import EndpointReport
from argosy.monitoring.drift.distribution import Distribution
from argosy.store.findings import Finding

STYLES = ("console.css", "report.css")
MOST_BYTES = 2 * 1024 * 1024
MOST_ROWS = 60
"""Rows of the heat map; what drifted stands first."""
MOST_LISTED = 200
DRAWN = (40, 20, 8, 0)
"""Columns whose distributions are drawn: fewer where the page would grow too large."""


class ComparisonSection(msgspec.Struct, frozen=True, kw_only=True):
    """A comparison of whole rows: its last finding, what it was made of, and its effects over time."""

    last: Finding
    causes: tuple[tuple[str, float], ...]
    effects: Markup


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


def _comparison(report: EndpointReport, last: Finding) -> ComparisonSection:
    found = [each for each in report.of("multivariate") if each.subject == last.subject]
    causes = tuple((str(each["name"]), float(each["weight"])) for each in last.detail.get("causes", ()))
    drawing = effects(found, f"{last.subject} over time", from_zero=False)
    return ComparisonSection(last=last, causes=causes, effects=drawing)
