"""`argosy cost`."""

import csv
import sys
from datetime import UTC, datetime
from typing import Any

import click

from argosy.cli.base import Command, json_option
from argosy.cli.here import control
from argosy.cli.logs import moment
from argosy.cli.output import Columns, emit, table
from argosy.console.words import money, short

USES = ("candidate", "batch", "startup", "idle", "shared", "credit")


@click.command(cls=Command)
@click.option(
    "--by", default="endpoint", show_default=True, help="Some of endpoint, version, key, region, use, day, hour."
)
@click.option("--since", metavar="TIME", default="30d", show_default=True, help="12h, 7d, or 2026-01-31T15:00.")
@click.option("--csv", "as_csv", is_flag=True, help="Print the rows as CSV.")
@json_option
def cost(by: str, since: str, as_csv: bool, as_json: bool) -> None:
    """What endpoints cost: requests, tests of candidates, batch jobs, starts, and replicas that waited.

    The rows add up to price times time, which is checked at the end of each hour. Prices are declared with `hourly` of
    an endpoint's scaling or under `cost` in config.yaml; without one nothing is counted. JSON: {rows: [{endpoint,
    version, key, name, region, use, day, hour, seconds, cost, requests, tokens, work, candidate, batch, startup, idle,
    shared, credit, per_request, per_1k_tokens}], total, hours, booked, billed, unread, problems, unpriced}.

    \b
    Example:
      argosy cost
      argosy cost --by key,day --since 7d --csv
    """
    now = datetime.now(UTC)
    seconds = max(3600, int((now - moment(since, now, "--since")).total_seconds()))
    found = control().get("/v1/costs", since=seconds, by=by)
    if as_csv:
        rows: list[dict[str, Any]] = found["rows"]
        csv.writer(sys.stdout).writerows([[*row] for row in rows[:1]] + [[*row.values()] for row in rows])
        return
    emit(found, as_json, lambda: _print(found, by.split(",")))


def _print(found: dict[str, Any], by: list[str]) -> None:
    rows: list[dict[str, Any]] = found["rows"]
    columns: Columns = {
        **{part: (lambda row: row["name"] or row["key"] or "–") if part == "key" else part for part in by},
        "count": ("requests", short),
        "tokens": ("tokens", short),
        "requests": ("work", money),
        **{use: (use, money) for use in USES if use == "idle" or any(row[use] for row in rows)},
        "sum": ("cost", money),
        "a request": ("per_request", money),
        "1,000 tokens": ("per_1k_tokens", money),
    }
    if not any(row["tokens"] for row in rows):
        columns = {name: column for name, column in columns.items() if "tokens" not in name}
    table(columns, rows, "nothing was spent")
    if rows:
        click.echo(f"\ntotal {money(found['total'])}")
    if found["hours"]:
        agrees = f"{found['hours']} hours are closed: rows {money(found['booked'])}, price times time"
        click.echo(f"{agrees} {money(found['billed'])}; {found['unread']:.0f} s of replicas ended uncounted, as idle")
    for hour in found["problems"]:
        click.echo(f"{datetime.fromtimestamp(hour['hour'], UTC):%Y-%m-%dT%H:00}: {hour['problem']}")
    if found["unpriced"]:
        click.echo(f"without a price, and not counted: {', '.join(found['unpriced'])}")
