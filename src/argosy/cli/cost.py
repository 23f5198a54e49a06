"""`argosy cost`."""

import csv
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from argosy.capacity import invoice
from argosy.capacity.invoice import Billed, Difference
from argosy.cli.base import Command, json_option
from argosy.cli.here import control
from argosy.cli.logs import moment
from argosy.cli.output import Columns, emit, table
from argosy.console.words import money, short
from argosy.spec.errors import InvalidArgument
from argosy.spec.offer import Launch

MOST, SHOWN = 400 * 86400, 40
USES = ("candidate", "batch", "startup", "idle", "shared", "credit")


@click.command(cls=Command)
@click.option(
    "--by", default="endpoint", show_default=True, help="Some of endpoint, version, key, region, use, day, hour."
)
@click.option("--since", metavar="TIME", default="30d", show_default=True, help="12h, 7d, or 2026-01-31T15:00.")
@click.option("--csv", "as_csv", is_flag=True, help="Print the rows as CSV.")
@click.option("--reconcile", metavar="FILE", help="Compare with an invoice: AWS CUR, GCP's export, or plain CSV.")
@json_option
def cost(by: str, since: str, as_csv: bool, reconcile: str | None, as_json: bool) -> None:
    """What endpoints cost: requests, tests of candidates, batch jobs, starts, and replicas that waited.

    The rows add up to price times time, which is checked at the end of each hour. Prices are declared with `hourly` of
    an endpoint's scaling or under `cost` in config.yaml; without one nothing is counted. JSON: {rows: [{endpoint,
    version, key, name, region, use, day, hour, seconds, cost, requests, tokens, work, candidate, batch, startup, idle,
    shared, credit, per_request, per_1k_tokens}], total, hours, booked, billed, unread, problems, unpriced}.

    An invoice is compared day by day, and region by region where the ledger has regions; and line by line: by the
    machine that lines bill, or by what they are for. Plain CSV has the columns date and cost, and may have currency,
    region, what and machine; another currency needs its rate under `cost.rates` in config.yaml. JSON: {days: [{day,
    region, lines, invoice, ledger, difference}], lines: [{machine, launch, what, lines, invoice, ledger, difference}]}.

    \b
    Example:
      argosy cost
      argosy cost --by key,day --since 7d --csv
      argosy cost --reconcile invoice.csv
    """
    now = datetime.now(UTC)
    if reconcile:
        _reconcile(reconcile, now, as_json)
        return
    seconds = max(3600, int((now - moment(since, now, "--since")).total_seconds()))
    found = control().get("/v1/costs", since=seconds, by=by)
    if as_csv:
        rows: list[dict[str, Any]] = found["rows"]
        csv.writer(sys.stdout).writerows([[*row] for row in rows[:1]] + [[*row.values()] for row in rows])
        return
    emit(found, as_json, lambda: _print(found, by.split(",")))


def _reconcile(file: str, now: datetime, as_json: bool) -> None:
    try:
        lines = invoice.read(Path(file).read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"the invoice {file} cannot be read: {error}") from None
    first = datetime.fromisoformat(min(each.day for each in lines)).replace(tzinfo=UTC)
    since = min(max(3600, int((now - first).total_seconds()) + 3600), MOST)
    found = control().get("/v1/costs", since=since, by="day,region")
    days = invoice.compare(lines, found["rows"], found["rates"])
    answer = control().get("/v1/launches", days=since / 86400)
    launches = msgspec.convert(answer["launches"], list[Launch])
    billed = invoice.machines(lines, launches, found["rates"])
    emit({"days": days, "lines": billed}, as_json, lambda: _print_invoice(days, billed))


def _print_invoice(days: Sequence[Difference], billed: Sequence[Billed]) -> None:
    amounts: Columns = {
        "lines": "lines",
        "invoice": ("invoice", money),
        "ledger": ("ledger", money),
        "difference": ("difference", money),
    }
    table({"day": "day", "region": "region", **amounts}, days)
    click.echo()
    table({"machine": "machine", "launch": "launch", "for": "what", **amounts}, billed[:SHOWN])
    if len(billed) > SHOWN:
        click.echo(f"and {len(billed) - SHOWN} more, which differ less: --json has all")
    whole, ours = sum(row.invoice for row in days), sum(row.ledger for row in days)
    share = f", {(ours - whole) / whole:+.2%}" if whole else ""
    click.echo(f"\ninvoice {money(whole)}, ledger {money(ours)}, difference {money(ours - whole)}{share}")


def _print(found: dict[str, Any], by: list[str]) -> None:
    rows: list[dict[str, Any]] = found["rows"]
    columns: Columns = {
        **{part: (part, lambda value: value or "–") for part in by},
        **({"key": lambda row: row["name"] or row["key"] or "–"} if "key" in by else {}),
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
