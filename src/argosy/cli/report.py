"""`argosy report`."""

from datetime import UTC, datetime
from pathlib import Path

import click

from argosy.cli.base import Command, json_option
from argosy.cli.here import store
from argosy.cli.output import emit
from argosy.cli.payload import moment
from argosy.spec.errors import InvalidArgument


@click.command(cls=Command)
@click.argument("name")
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
    from argosy.console.report import gather
    from argosy.console.sheet import page

    now = datetime.now(UTC)
    with store() as opened:
        found = gather(opened, name, moment(since, now, "--since").timestamp(), now.timestamp())
    if html is not None:
        html.write_text(page(found), encoding="utf-8", errors="replace")
        click.echo(f"the report on '{name}' was written to {html}", err=True)
    if as_json:
        emit(found, True, lambda: None)
