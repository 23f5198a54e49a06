"""`argosy feedback`: labels in, performance out."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from argosy.cli.base import Command, Group, json_option
from argosy.cli.completion import endpoints
from argosy.cli.here import place, settings, store
from argosy.cli.output import Columns, emit, table
from argosy.spec.errors import InvalidArgument

if TYPE_CHECKING:
    from argosy.monitoring.feedback.join import Prediction
    from argosy.store.payloads.segment import Broken

DAY = timedelta(days=1)


@click.group(cls=Group)
def feedback() -> None:
    """Tell what turned out to be true, and see how good the predictions were.

    \b
    Example:
      argosy feedback load labels.parquet --endpoint flights
      argosy feedback show flights
    """


@feedback.command(cls=Command)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--endpoint", required=True, shell_complete=endpoints, help="Whose predictions they are labels of.")
@json_option
def load(file: Path, endpoint: str, as_json: bool) -> None:
    """Take a file of labels: .parquet, .csv or .jsonl.

    Columns: request_id and label, and optionally row (of the request, from 0), time (since when it is known: ISO 8601
    in UTC, or seconds since 1970), version (the highest counts) and source. A label may come before its prediction; a
    file may be loaded again. Labels that cannot be right are counted and left out: the exit status is then 2.

    \b
    Example:
      argosy feedback load labels.csv --endpoint flights
    """
    from argosy.monitoring.feedback import intake
    from argosy.monitoring.feedback.folder import LabelFolder
    from argosy.spec.endpoint import check_name

    loaded = intake.load(LabelFolder(place().feedback, check_name(endpoint, "endpoint")), file, time.time())

    def render() -> None:
        click.echo(f"{loaded.labels:,} labels of {endpoint} taken")
        for reason, count in loaded.refused.items():
            click.echo(f"{count:,} left out: {reason} (as {loaded.examples[reason][:80]})", err=True)

    emit(loaded, as_json, render)
    if loaded.refused:
        click.get_current_context().exit(2)


@feedback.command(cls=Command)
@click.argument("endpoint", shell_complete=endpoints)
@click.option("--decision", default="", help="The column that is the prediction.  [default: output.label]")
@click.option("--score", default="", help="The column of its probability.")
@click.option("--regression", is_flag=True, help="Predictions are numbers: errors instead of hits.")
@click.option("--by", type=click.Choice(["hour", "day"]), default="day", show_default=True)
@json_option
def show(endpoint: str, decision: str, score: str, regression: bool, by: Literal["hour", "day"], as_json: bool) -> None:
    """Join what has come, and print performance by the time of prediction.

    `mature` is the share of the labels a cohort will ever get that it has by its age: below 80 % those labelled may be
    a special kind. Where the endpoint declares a monitor, columns and kind are as it says. JSON: {step, cohorts:
    [{version, start, served, labelled, mature, accuracy, mae, rmse}]}.

    \b
    Example:
      argosy feedback show flights --decision output.delayed
    """
    from argosy.monitoring.feedback.cohort import performance
    from argosy.monitoring.feedback.folder import LabelFolder
    from argosy.monitoring.feedback.join import step

    home, what = place(), _prediction(endpoint, decision, score, regression)
    folder = LabelFolder(home.feedback, endpoint)
    keep = settings().feedback.keep_days
    made = step(folder, home.payloads, what, keep_days=keep)
    now = datetime.now(UTC)
    found = performance(folder, now, by)
    length = DAY if by == "day" else DAY / 24
    rows = [
        {
            "version": cohort.version,
            "start": cohort.start.isoformat(timespec="minutes"),
            "served": cohort.served,
            "labelled": cohort.labelled,
            "mature": found.maturity(cohort, now, length),
            "accuracy": cohort.accuracy,
            "mae": cohort.mae,
            "rmse": cohort.rmse,
        }
        for cohort in found.cohorts
    ]

    def render() -> None:
        errors = ("mae", "rmse") if what.kind == "regression" else ("accuracy",)
        columns: Columns = {
            name: (name, _cell) for name in ("version", "start", "served", "labelled", "mature", *errors)
        }
        table(columns, rows, empty="no predictions yet")
        if made.waiting:
            click.echo(f"{made.waiting:,} labels wait for their predictions", err=True)
        if made.expired:
            click.echo(f"{made.expired:,} labels had no prediction after {keep:g} days and are dropped", err=True)
        _report_broken(made.broken)

    emit({"step": made, "cohorts": rows}, as_json, render)


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _report_broken(files: "Sequence[Broken]") -> None:
    for broken in files:
        click.echo(f"a broken file was put aside: {broken.key} ({broken.reason})", err=True)


@feedback.command(cls=Command)
@click.argument("endpoint", shell_complete=endpoints)
@click.option("--since", metavar="TIME", help="Predictions from then on: 30m, 12h, 7d, or 2026-01-31T15:00 in UTC.")
@click.option("--until", metavar="TIME", help="Predictions before then.")
@click.option("--version", default="", metavar="NUMBER", help="Of this version of the model alone.")
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Write there.")
@json_option
def export(endpoint: str, since: str | None, until: str | None, version: str, output: Path, as_json: bool) -> None:
    """Write predictions with their labels to a file, to train on: .parquet, .csv or .jsonl.

    Columns: request_id, row, time, version, weight, the inputs and outputs as the log has them (input.age), label and
    label_time. Of several labels the one that counts is taken. JSON: {rows, broken}.

    \b
    Example:
      argosy feedback export flights --since 7d --output labelled.parquet
    """
    from argosy.cli.logs import moment
    from argosy.monitoring.feedback.export import Span
    from argosy.monitoring.feedback.export import export as write
    from argosy.monitoring.feedback.folder import LabelFolder
    from argosy.spec.endpoint import check_name

    home, now = place(), datetime.now(UTC)
    span = Span(
        since=moment(since, now, "--since") if since else None,
        until=moment(until, now, "--until") if until else None,
        version=version,
    )
    found = write(LabelFolder(home.feedback, check_name(endpoint, "endpoint")), home.payloads, output, span)
    _report_broken(found.broken)
    emit(found, as_json, lambda: click.echo(f"{found.rows:,} labelled rows written to {output}"))


def _prediction(endpoint: str, decision: str, score: str, regression: bool) -> "Prediction":
    """The columns as the monitor of the endpoint says, or as the options do where there is none."""
    from argosy.monitoring.feedback.join import Prediction
    from argosy.monitoring.performance.reference import evaluated
    from argosy.monitoring.performance.roles import roles
    from argosy.packaging.package import open_package
    from argosy.spec.monitor import Monitor
    from argosy.spec.payload import PayloadLog
    from argosy.store.endpoints import Endpoints

    with store() as opened:
        state = Endpoints(opened.database)
        declared = state.endpoint(endpoint)
        revision = state.revisions()[declared.revision] if declared else None
        if declared is None or revision is None or not (revision.language or evaluated(declared.endpoint)):
            kind = "regression" if regression else "classification"
            return Prediction(decision=decision or "output.label", score=score, kind=kind)
        if decision or score or regression:
            raise InvalidArgument(f"what the predictions of '{endpoint}' are is declared: leave these options out")
        signature = open_package(opened.unpacked(revision.digest)).manifest.recorded
        return roles(declared.endpoint.monitor or Monitor(), signature, declared.endpoint.payload or PayloadLog())
