"""`argosy logs payload`."""

import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import click

from argosy.cli.base import Command
from argosy.cli.here import place
from argosy.cli.output import printable, table
from argosy.spec.errors import InvalidArgument

FORMATS = ("table", "json", "csv", "parquet")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@click.command(cls=Command)
@click.argument("endpoint")
@click.option("--where", default="", metavar="SQL", help="Only rows for which this is true, as in  code >= 500.")
@click.option("--since", metavar="TIME", help="From then on: 30m, 12h, 7d, or 2026-01-31T15:00 in UTC.")
@click.option("--until", metavar="TIME", help="Until then.")
@click.option("--limit", type=click.IntRange(0), default=20, show_default=True, help="The newest rows; 0: all.")
@click.option("--format", "kind", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write there.")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json: one object a line.")
def payload(
    endpoint: str,
    where: str,
    since: str | None,
    until: str | None,
    limit: int,
    kind: str,
    output: Path | None,
    as_json: bool,
) -> None:
    """Print what an endpoint was asked and what it answered, a line for each row of each request.

    Reads the Parquet files under ARGOSY_HOME/payloads; they can be read by DuckDB, Polars and Spark as well. The
    condition is SQL as DuckDB has it. Columns are named like input.age and output.label; a name with other signs than
    letters, digits and _ stands in quotes: "input.time of day" > 12.

    \b
    Example:
      argosy logs payload digits --since 1h --where "code >= 500"
      argosy logs payload flights --where "input.distance > 1000" --format csv --limit 0 -o far.csv
    """
    from argosy.store.payloads.query import Query, read

    now = datetime.now(UTC)
    kind = "json" if as_json else kind
    if kind == "parquet" and output is None and sys.stdout.isatty():
        raise InvalidArgument("Parquet is not for reading on a terminal: say where to write it with -o FILE")
    if output is not None and kind == "table":
        raise InvalidArgument("-o needs --format json, csv or parquet")
    query = Query(
        endpoint=endpoint,
        since=moment(since, now, "--since") if since else None,
        until=moment(until, now, "--until") if until else None,
        where=where,
        limit=limit,
    )
    answer = read(place().payloads, query)
    for broken in answer.broken:
        click.echo(f"a broken file was put aside: {broken.key} ({broken.reason})", err=True)
    if kind == "table":
        _print(answer.table)
    elif output is None:
        click.echo(_encoded(answer.table, kind), nl=False)
    else:
        output.write_bytes(_encoded(answer.table, kind))
        click.echo(f"{answer.table.num_rows} rows written to {output}", err=True)


def moment(text: str, now: datetime, option: str) -> datetime:
    """A time, or how long ago: `90s`, `30m`, `12h`, `7d`, `2w`, or ISO 8601 (UTC unless it says otherwise)."""
    if match := re.fullmatch(r"(\d{1,6}(?:\.\d+)?)([smhdw])", text):
        return now - timedelta(**{_UNITS[match[2]]: float(match[1])})
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidArgument(f"{option} is 30m, 12h, 7d or a time like 2026-01-31T15:00, not '{text[:40]}'") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _encoded(found: Any, kind: str) -> bytes:
    """In CSV, lists and structs are JSON in their cells."""
    import csv
    import io

    import msgspec

    if kind == "parquet":
        from argosy.store.payloads.segment import encoded

        return bytes(encoded(found))
    if kind == "json":
        return b"".join(msgspec.json.encode(row) + b"\n" for row in found.to_pylist())
    sink = io.StringIO()
    writer = csv.writer(sink)
    writer.writerow(found.column_names)
    for row in found.to_pylist():
        cells = msgspec.to_builtins(row).values()
        writer.writerow([msgspec.json.encode(c).decode() if isinstance(c, dict | list) else c for c in cells])
    return sink.getvalue().encode()


def _print(found: Any) -> None:
    names = [name for name in found.column_names if name not in ("endpoint", "hour", "features")]
    rows = [[_cell(row[name]) for name in names] for row in found.select(names).to_pylist()] if names else []
    table(names, rows, empty="no row fits")


def _cell(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat(" ", "milliseconds").replace("+00:00", "")
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        items = cast("list[Any]", value)
        shown = ", ".join(_cell(one) for one in items[:4])
        return f"[{shown}, … {len(items)}]" if len(items) > 4 else f"[{shown}]"
    text = "" if value is None else printable(str(value))
    return text if len(text) <= 60 else text[:59] + "…"
