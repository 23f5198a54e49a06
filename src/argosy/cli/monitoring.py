"""`argosy drift`, `performance` and `report`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from argosy.cli.base import Command, json_option
from argosy.cli.completion import endpoints
from argosy.cli.here import place, store
from argosy.cli.logs import moment
from argosy.cli.output import Columns, emit, table
from argosy.console.words import clock
from argosy.spec.errors import Conflict, InvalidArgument

if TYPE_CHECKING:
    from argosy.monitoring.drift.reference import Baseline
    from argosy.packaging.package import Package
    from argosy.store.findings import Finding

WORSE = 11
"""The exit status of `--fail` where a column has drifted, or performance has fallen; no error has it."""

LEAST_ROWS = 30
"""With fewer rows no interval is narrow enough to tell anything."""


@click.command(cls=Command)
@click.argument("name", shell_complete=endpoints)
@click.option("--since", metavar="TIME", default="1h", show_default=True, help="30m, 12h, 7d, or 2026-01-31T15:00.")
@click.option("--segment", metavar="COLUMN=VALUE", default="", help="Only these rows, as in region=EU.")
@click.option("--fail", is_flag=True, help="Exit with 11 where a column has drifted.")
@json_option
def drift(name: str, since: str, segment: str, fail: bool, as_json: bool) -> None:
    """Compare what an endpoint was asked and answered lately with the data its model was pushed with.

    Works without a platform, on what was recorded of the version that serves; 'payload: {}' in the declaration
    records. A column has drifted where the evidence is strong (at most 5 % of those named are named falsely) and the
    effect matters (even the lower end of its 90 % interval lies above its margin). Evidence is an e-value: it grows
    beyond 1 by chance as rarely as one wins such odds in a fair game. Columns that are redacted, or that name each row
    (an id, an e-mail), are not compared. A segment, of the columns that monitor.segments declares, and a language model
    are compared with their own past. JSON: {endpoint, version, segment, since, until, rows, drifted, columns: [{column,
    side, rows, effects, statistics, e, drifted}]}.

    \b
    Example:
      argosy drift flights --since 24h
      argosy drift flights --since 1h --fail
      argosy drift flights --since 1h --segment origin=JFK
    """
    from argosy.monitoring.drift.reference import baseline, before, window

    now = datetime.now(UTC)
    version, package = _served(name)
    base, begin = baseline(package), moment(since, now, "--since")
    profile = window(place().profiles, name, version, base, begin, now, segment)
    _enough(profile.rows, f"of '{name}' version {version} in this time", "look further back with --since")
    counts = base.counts
    if segment or base.learned:
        past = before(place().profiles, name, version, base, begin, segment)
        what = f"of '{segment[:80] or name}' before this time"
        _enough(past.rows if past else 0, what, "look less far back with --since")
        counts = base.came(past) if past else counts
    columns = _columns(base, counts, base.came(profile))
    drifted = [one["column"] for one in columns if one["drifted"]]
    value = {
        "endpoint": name,
        "version": version,
        "segment": segment,
        "since": _minute(profile.start),
        "until": _minute(profile.end),
        "rows": profile.rows,
        "drifted": drifted,
        "columns": columns,
    }

    def render() -> None:
        table(COMPARED, columns, empty="no column has a distribution")
        of = f"version {version}" + (f" with {segment}" if segment else "")
        click.echo(f"{profile.rows:,} rows of {of}, {value['since']} to {value['until']}", err=True)

    emit(value, as_json, render)
    if fail and drifted:
        click.get_current_context().exit(WORSE)


def _columns(base: "Baseline", counts: Any, came: Any) -> list[dict[str, Any]]:
    import msgspec

    from argosy.monitoring.drift.compare import compare

    sides = {column.name: column.side for column in base.layout.columns}
    return [
        {
            "column": one.column,
            "side": sides[one.column],
            "rows": one.rows,
            "effects": msgspec.to_builtins(one.effects, enc_hook=float),
            "statistics": msgspec.to_builtins(one.statistics, enc_hook=float),
            "e": one.e,
            "drifted": one.drifted,
        }
        for one in compare(base.where, counts, came)
    ]


def _enough(rows: int, what: str, advice: str) -> None:
    if rows < LEAST_ROWS:
        raise Conflict(f"only {rows} rows were recorded {what}; {LEAST_ROWS} are the least to compare: {advice}")


def _served(name: str) -> "tuple[str, Package]":
    """The version that serves, or is to serve, and its package."""
    from argosy.packaging.package import open_package
    from argosy.store.streams import served

    with store() as opened:
        _, revision = served(opened, name)
        return revision.version, open_package(opened.unpacked(revision.digest))


def _minute(minute: int) -> str:
    return datetime.fromtimestamp(minute * 60, UTC).isoformat(timespec="minutes")


def _effect(one: dict[str, Any]) -> str:
    if not one["rows"] or not one["effects"]:
        return "-"
    effect = one["effects"][0]
    return f"{effect['name']} {effect['value']:.3f} ({effect['low']:.3f} to {effect['high']:.3f})"


def _evidence(one: dict[str, Any]) -> str:
    if not one["rows"]:
        return "-"
    return f"{one['e']:.3g}" if one["e"] < 1e6 else "> 1e6"


def _verdict(one: dict[str, Any]) -> str:
    return "not compared" if not one["rows"] else "drift" if one["drifted"] else "no drift"


COMPARED: Columns = {
    "column": "column",
    "side": "side",
    "rows": ("rows", "{:,}".format),
    "effect": _effect,
    "evidence": _evidence,
    "verdict": _verdict,
}


KINDS = ("estimate", "realised", "reconcile")


@click.command(cls=Command)
@click.argument("name", shell_complete=endpoints)
@click.option("--since", metavar="TIME", default="24h", show_default=True, help="30m, 12h, 7d, or 2026-01-31T15:00.")
@click.option("--metric", default="", help="accuracy, precision, recall, f1, auroc, mae or rmse.  [default: declared]")
@click.option("--fail", is_flag=True, help="Exit with 11 where the serving version has fallen beyond its margin.")
@json_option
def performance(name: str, since: str, metric: str, fail: bool, as_json: bool) -> None:
    """How good an endpoint's predictions are, window by window: estimated without labels, and as labels say.

    Works without a platform, on what the platform has found; 'monitor' in the declaration says what is looked at.
    Intervals are of 95 %. `labels` is the share of the labels it will ever get that a window has by its age. Verdicts:
    as expected, below (beyond the margin, perhaps by chance), fell (beyond the margin, proven), measured (there is no
    reference to compare with), or why nothing can be said. JSON: {endpoint, version, metric, fallen, windows:
    [{version, start, end, estimate, realised, reconcile}]}, each as it was found, or null.

    \b
    Example:
      argosy performance flights --since 7d
      argosy performance flights --metric f1 --fail
    """
    from argosy.store import findings
    from argosy.store.streams import served

    begin = moment(since, datetime.now(UTC), "--since").timestamp()
    with store() as opened:
        declared, revision = served(opened, name)
        if declared.endpoint.monitor is None:
            raise Conflict(f"'{name}' declares no monitor, so that nobody looks: see docs/guides/performance.md")
        found = findings.read(opened.database, name, KINDS, begin)
    usual = "mae" if any(each.subject == "mae" for each in found) else "accuracy"
    chosen = metric or declared.endpoint.monitor.metric or usual
    found = [each for each in found if each.subject == chosen]
    windows, fallen = _windows(found), _fallen([each for each in found if each.version == revision.version])

    def render() -> None:
        empty = f"nothing has been found since {clock(begin)} UTC: a window is told once it is over"
        table(WINDOWS, windows, empty=empty)
        if windows:
            verdict = ", ".join(fallen) or "nothing has fallen"
            click.echo(f"{chosen} of '{name}', version {revision.version} serves; {verdict}")

    value = {"endpoint": name, "version": revision.version, "metric": chosen, "fallen": fallen, "windows": windows}
    emit(value, as_json, render)
    if fail and fallen:
        click.get_current_context().exit(WORSE)


def _windows(found: "Sequence[Finding]") -> list[dict[str, Any]]:
    made: dict[tuple[float, str], dict[str, Any]] = {}
    for each in found:
        window = made.setdefault(
            (each.window_end, each.version),
            {"version": each.version, "start": each.window_start, "end": each.window_end} | dict.fromkeys(KINDS),
        )
        window[each.kind] = each
    return [window for _, window in sorted(made.items())]


def _fallen(found: "Sequence[Finding]") -> list[str]:
    """What is wrong with the last windows of which something can be said, in words."""
    from argosy.monitoring.feedback.cohort import MATURE
    from argosy.store.findings import Verdict

    known = [each for each in found if not each.undecided]
    known = [each for each in known if each.kind != "realised" or each.detail.get("maturity", 0.0) >= MATURE]
    last = {each.kind: each for each in sorted(known, key=lambda one: one.window_end)}
    words = {
        "estimate": "the estimate fell",
        "realised": "fell, as labels say",
        "reconcile": "the estimate was too good",
    }
    return [words[kind] for kind, each in last.items() if each.outcome in (Verdict.FELL, Verdict.DIFFERS)]


def _rows(window: dict[str, Any]) -> str:
    return f"{next(window[kind] for kind in KINDS if window[kind] is not None).rows:,}"


def _figure(found: "Finding | None") -> str:
    if found is None or found.effect is None:
        return "-"
    return f"{found.effect:.3f} ({found.low:.3f} to {found.high:.3f})"


def _labels(realised: "Finding | None") -> str:
    labels = realised.detail.get("maturity") if realised is not None else None
    return "-" if labels is None else f"{labels:.0%}"


def _verdicts(window: dict[str, Any]) -> str:
    return "; ".join(dict.fromkeys(window[kind].verdict for kind in KINDS if window[kind] is not None))


WINDOWS: Columns = {
    "until (UTC)": ("end", clock),
    "version": "version",
    "rows": _rows,
    "estimated": ("estimate", _figure),
    "realised": ("realised", _figure),
    "labels": ("realised", _labels),
    "verdict": _verdicts,
}


@click.command(cls=Command)
@click.argument("name", shell_complete=endpoints)
@click.option("--since", metavar="TIME", default="7d", show_default=True, help="24h, 7d, or 2026-01-31T15:00.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write one page there.")
@json_option
def report(name: str, since: str, html: Path | None, as_json: bool) -> None:
    """Report on an endpoint: traffic, drift, performance, objectives, alerts, and what served.

    The page needs no script and nothing from elsewhere: it can be mailed, kept and printed. Works without a platform,
    on what was recorded and found. Columns that the payload log hides show no values. JSON: {endpoint, model, version,
    digest, since, until, rows, requests, errors, columns, trouble, findings, alerts, served, lineage, minutes}; times
    in seconds since 1970.

    \b
    Example:
      argosy report flights --html flights.html
      argosy report flights --since 24h --json
    """
    if html is None and not as_json:
        raise InvalidArgument("say where to write the page, as in --html report.html, or ask for --json")
    from argosy.console.report import gather, page

    now = datetime.now(UTC)
    with store() as opened:
        found = gather(opened, name, moment(since, now, "--since").timestamp(), now.timestamp())
    if html is not None:
        html.write_text(page(found), encoding="utf-8", errors="replace")
        click.echo(f"the report on '{name}' was written to {html}", err=True)
    if as_json:
        emit(found, True, lambda: None)
