"""A report as one page that needs nothing else: no script, nothing from elsewhere; for screens of both colours and for
paper."""

import base64
import hashlib
from collections.abc import Sequence

import msgspec
from markupsafe import Markup

import argosy
from argosy.console import chart, words
from argosy.console.data import Finding
from argosy.console.heat import Heat, drifted, heat, level
from argosy.console.pages import HERE, environment
from argosy.console.report import ColumnReport, EndpointReport
from argosy.console.watch import DRIFT, QUALITY, quality

STYLES = ("console.css", "report.css")
MOST_BYTES = 2 * 1024 * 1024
MOST_ROWS = 60
"""Rows of the heat map; what drifted stands first."""
MOST_LISTED = 200
DRAWN = (40, 20, 8, 0)
"""Columns whose distributions are drawn: fewer where the page would grow too large."""


class ComparisonSection(msgspec.Struct, frozen=True, kw_only=True):
    """A comparison of whole rows: its last finding, what it was made of, and its course."""

    last: Finding
    causes: tuple[tuple[str, float], ...]
    course: Markup


def page(report: EndpointReport) -> str:
    """HTML of at most 2 MB."""
    style = "".join((HERE / "static" / name).read_text() for name in STYLES)
    template = environment().get_template("report.html")
    measured = {each.window_end for each in report.of(*DRIFT)}
    common = {
        "one": report,
        "argosy": argosy.__version__,
        "style": Markup(style),
        "digest": base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        "windows": len(measured),
        "columns": _standing(report),
        "heat": _heat(report),
        "moved": drifted,
        "level": level,
        "watched": [_watched(report, each) for each in report.last("multivariate")],
        "metrics": [quality(name, report.of(*QUALITY)) for name in _metrics(report)],
        "notes": report.last("reconcile"),
        "slos": report.last("slo"),
        "traffic": _traffic(report),
        "listed": report.columns[:MOST_LISTED],
    }
    text = ""
    for most in DRAWN:
        text = template.render(common | {"drawn": _drawn(report.columns, most)})
        if len(text.encode(errors="replace")) <= MOST_BYTES:
            break
    return text


def _standing(report: EndpointReport) -> tuple[int, int]:
    """How many columns have drifted, and of how many: at the last look, or without one over the whole time."""
    found = [drifted(each) for each in report.last("drift", "prediction") if "segment" not in each.detail]
    found = found or [each.drifted for each in report.columns if each.effect]
    return sum(found), len(found)


def _metrics(report: EndpointReport) -> list[str]:
    return list(dict.fromkeys(each.subject for each in report.of("estimate", "realised")))


def _heat(report: EndpointReport) -> Heat:
    whole = heat(report.of(*DRIFT))
    return msgspec.structs.replace(whole, rows=whole.rows[:MOST_ROWS])


def _drawn(columns: Sequence[ColumnReport], most: int) -> list[tuple[ColumnReport, Markup]]:
    """What drifted first, then by evidence."""
    ranked = sorted((each for each in columns if each.distribution), key=lambda each: not each.drifted)
    return [(each, _overlay(each)) for each in ranked[:most]]


def _overlay(column: ColumnReport) -> Markup:
    shape = column.distribution
    assert shape is not None
    sides = [tuple(count / (sum(side) or 1) for count in side) for side in (shape.reference, shape.current)]
    return chart.overlay(sides[0], sides[1], shape.labels, f"distributions of {column.column}")


def _watched(report: EndpointReport, last: Finding) -> ComparisonSection:
    course = [each for each in report.of("multivariate") if each.subject == last.subject]
    line = chart.ChartLine("main", "effect", chart.field(course, "effect"))
    band = chart.Band("main", chart.field(course, "low"), chart.field(course, "high"))
    times = [each.window_end for each in course]
    causes = [(str(each["name"]), float(each["weight"])) for each in last.detail.get("causes", ())]
    drawing = chart.lines(times, [line], f"{last.subject} over time", words.number, bands=[band], from_zero=False)
    return ComparisonSection(last=last, causes=tuple(causes), course=drawing)


def _traffic(report: EndpointReport) -> Markup:
    times = [each.at for each in report.minutes]
    rates = [each.requests / each.seconds for each in report.minutes]
    return chart.lines(times, [chart.ChartLine("main", "requests a second", rates)], "requests a second", words.rate)
