"""`argosy usage`."""

from datetime import UTC, datetime
from typing import Any

import click

from argosy.cli.base import Command, json_option
from argosy.cli.here import control
from argosy.cli.logs import moment
from argosy.cli.output import Columns, emit, table
from argosy.console.words import milliseconds, short


@click.command(cls=Command)
@click.option("--by", default="key,endpoint,version,day", show_default=True, help="Some of these, or hour.")
@click.option("--since", metavar="TIME", default="30d", show_default=True, help="12h, 7d, or 2026-01-31T15:00.")
@json_option
def usage(by: str, since: str, as_json: bool) -> None:
    """Tokens and money of language models, by key, endpoint, version and day.

    The tokens of an answer are in it a second after its end, those of an answer that was broken off as well: what was
    generated counts. JSON: a list of {key, name, endpoint, version, day, hour, requests, aborted, input, cached,
    output, reasoning, money, currency, first_p50, first_p95, each_p50}; times are milliseconds.

    \b
    Example:
      argosy usage
      argosy usage --by key --since 7d --json
    """
    now = datetime.now(UTC)
    seconds = max(3600, int((now - moment(since, now, "--since")).total_seconds()))
    found = control().get("/v1/usage", since=seconds, by=by)
    parts = [part for part in by.split(",") if part != "key"]
    columns: Columns = {
        **({"key": lambda row: row["name"] or row["key"] or "–"} if "key" in by.split(",") else {}),
        **{part: part for part in parts},
        "requests": "requests",
        "aborted": "aborted",
        "input": ("input", short),
        "cached": ("cached", short),
        "output": ("output", short),
        "first token": ("first_p50", milliseconds),
        "money": _money,
    }
    emit(found, as_json, lambda: table(columns, found, "no tokens were used"))


def _money(row: dict[str, Any]) -> str:
    return f"{row['money']:,.4f} {row['currency']}".strip() if row["money"] else ""
