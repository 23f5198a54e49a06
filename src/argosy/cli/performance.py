"""`argosy performance`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from argosy.cli.base import Command, json_option
from argosy.cli.here import store
from argosy.cli.output import Columns, emit, table
from argosy.cli.payload import moment
from argosy.console.words import clock
from argosy.spec.errors import Conflict

if TYPE_CHECKING:
    from argosy.store.findings import Finding

FELL = 11
"""The exit status of `--fail` where performance has fallen; no error has it."""

KINDS = ("estimate", "realised", "reconcile")


@click.command(cls=Command)
@click.argument("name")
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
    from argosy.store.endpoints import Endpoints

    begin = moment(since, datetime.now(UTC), "--since").timestamp()
    with store() as opened:
        declared, revision = Endpoints(opened.database).served(name)
        if declared.endpoint.monitor is None:
            raise Conflict(f"'{name}' declares no monitor, so that nobody looks: see docs/performance.md")
        found = findings.read(opened.database, name, KINDS, begin)
    usual = "mae" if any(each.subject == "mae" for each in found) else "accuracy"
    chosen = metric or declared.endpoint.monitor.metric or usual
    found = [each for each in found if each.subject == chosen]
    windows, fallen = _windows(found), _fallen([each for each in found if each.version == revision.version])

    def render() -> None:
        empty = f"nothing has been found since {clock(begin)} UTC: a window is told once it is over"
        table(COLUMNS, windows, empty=empty)
        if windows:
            verdict = ", ".join(fallen) or "nothing has fallen"
            click.echo(f"{chosen} of '{name}', version {revision.version} serves; {verdict}")

    value = {"endpoint": name, "version": revision.version, "metric": chosen, "fallen": fallen, "windows": windows}
    emit(value, as_json, render)
    if fail and fallen:
        click.get_current_context().exit(FELL)


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


COLUMNS: Columns = {
    "until (UTC)": ("end", clock),
    "version": "version",
    "rows": _rows,
    "estimated": ("estimate", _figure),
    "realised": ("realised", _figure),
    "labels": ("realised", _labels),
    "verdict": _verdicts,
}
