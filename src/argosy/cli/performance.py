"""`argosy performance`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from argosy.cli.base import Command, json_option
from argosy.cli.here import store
from argosy.cli.output import emit, table
from argosy.cli.payload import moment
from argosy.spec.errors import Conflict, NotFound

if TYPE_CHECKING:
    from argosy.store.findings import Finding

FELL = 11
"""The exit status of `--fail` where performance has fallen; no error has it."""

KINDS = ("estimate", "realised", "reconcile")
COLUMNS = ("until (UTC)", "version", "rows", "estimated", "realised", "labels", "verdict")


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
        state = Endpoints(opened.database)
        declared = state.endpoint(name)
        if declared is None:
            raise NotFound(f"there is no endpoint '{name[:63]}': argosy ps lists them")
        if declared.endpoint.monitor is None:
            raise Conflict(f"'{name}' declares no monitor, so that nobody looks: see docs/performance.md")
        revision = state.revisions()[declared.serving.active or declared.revision]
        found = findings.read(opened.database, name, KINDS, begin)
    chosen = metric or declared.endpoint.monitor.metric or _usual(found)
    windows = _windows([each for each in found if each.subject == chosen])
    fallen = _fallen([each for each in found if each.subject == chosen and each.version == revision.version])
    told = {"endpoint": name, "version": revision.version, "metric": chosen, "fallen": fallen, "windows": windows}

    def render() -> None:
        rows = [_row(each) for each in windows]
        table(
            COLUMNS, rows, empty=f"nothing has been found since {_spoken(begin)} UTC: a window is told once it is over"
        )
        if windows:
            click.echo(
                f"{chosen} of '{name}', version {revision.version} serves; {', '.join(fallen) or 'nothing has fallen'}"
            )

    emit(told, as_json, render)
    if fail and fallen:
        click.get_current_context().exit(FELL)


def _usual(found: "Sequence[Finding]") -> str:
    """The metric that is compared where none is declared."""
    names = {each.subject for each in found}
    return "mae" if "mae" in names else "accuracy"


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

    known = [each for each in found if not each.verdict.startswith("not")]
    known = [each for each in known if each.kind != "realised" or each.detail.get("maturity", 0.0) >= MATURE]
    last = {each.kind: each for each in sorted(known, key=lambda one: one.window_end)}
    words = {
        "estimate": "the estimate fell",
        "realised": "fell, as labels say",
        "reconcile": "the estimate was too good",
    }
    return [words[kind] for kind, each in last.items() if each.verdict in ("fell", "the estimate was too good")]


def _row(window: dict[str, Any]) -> tuple[str, ...]:
    estimate, realised = window["estimate"], window["realised"]
    verdicts = [each.verdict for each in (estimate, realised, window["reconcile"]) if each is not None]
    labels = realised.detail.get("maturity") if realised is not None else None
    return (
        _spoken(window["end"]),
        window["version"],
        f"{(estimate or realised or window['reconcile']).rows:,}",
        _figure(estimate),
        _figure(realised),
        "-" if labels is None else f"{labels:.0%}",
        "; ".join(dict.fromkeys(verdicts)),
    )


def _figure(found: "Finding | None") -> str:
    if found is None or found.effect is None:
        return "-"
    return f"{found.effect:.3f} ({found.low:.3f} to {found.high:.3f})"


def _spoken(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M" + ":%S" * bool(at % 60))
