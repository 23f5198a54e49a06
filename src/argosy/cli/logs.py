"""`argosy logs`, and `argosy logs payload`."""

import contextlib
import re
import sys
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import click

from argosy.cli.base import Command, json_option
from argosy.cli.completion import endpoints
from argosy.cli.here import control, place
from argosy.cli.output import table
from argosy.process import tail
from argosy.spec.errors import ArgosyError, InvalidArgument, NotFound
from argosy.spec.foreign import printable

POLL_SECONDS = 0.2


class Logs(Command):
    """`argosy logs payload ENDPOINT …` is a command of its own; a single `payload` is a name like any other."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        if len(args) > 1 and args[0] == "payload":
            return payload.make_context(f"{info_name} payload", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


@click.command(cls=Logs)
@click.argument("name", shell_complete=endpoints)
@click.option("-f", "--follow", "following", is_flag=True, help="Keep printing what is written, until Ctrl-C.")
@click.option("-n", "--lines", type=click.IntRange(min=0), default=100, show_default=True, help="Lines of the past.")
@json_option
def logs(name: str, following: bool, lines: int, as_json: bool) -> None:
    """Print or follow the logs of an endpoint, a replica, the gateway or the controller.

    NAME is an endpoint (all its replicas, also those that ended), a replica as `argosy ps` names it, `gateway` or
    `control`. With --json each line is an object with `source` and `line`. What the endpoint was asked and what it
    answered is in another log: argosy logs payload --help.

    \b
    Example:
      argosy logs digits -n 20
      argosy logs -f gateway
      argosy logs payload digits --since 1h --where "code >= 500"
    """
    folder = place().logs
    files = find(folder, name)
    if not files and (remote := elsewhere(name)):

        def show(replica: str) -> None:
            rest = ""
            for text in control().stream(f"/v1/logs/{replica}", lines=lines, follow=str(following).lower()):
                *whole, rest = (rest + text).split("\n")
                for line in whole:
                    _print(replica, line.encode(), len(remote) > 1, as_json)
            if rest:
                _print(replica, rest.encode(), len(remote) > 1, as_json)

        with ThreadPoolExecutor(len(remote) if following else 1) as pool:
            list(pool.map(show, remote))
        return
    if not files:
        known = f"there are logs of {', '.join(names(folder))}" if names(folder) else "nothing has been logged yet"
        raise NotFound(f"there are no logs of '{name}' under {folder}; {known}")
    many = len(files) > 1 or find(folder, name, exact=True) == []
    ends: dict[Path, int] = {}
    for path in files:
        ends[path], last = tail.lines(path, lines)
        for line in last.splitlines():
            _print(path.stem, line, many, as_json)
    if following:
        for source, line in follow(lambda: find(folder, name), ends):
            _print(source, line, many, as_json)


def elsewhere(name: str) -> list[str]:
    """The replicas of an endpoint, or the one of this name, that the platform knows of; none where it does not run."""
    try:
        return [each["id"] for each in control().replicas() if name in (each["id"], each["endpoint"])]
    except ArgosyError:
        return []


def _print(source: str, line: bytes, many: bool, as_json: bool) -> None:
    text = line.decode(errors="replace")
    if as_json:
        import msgspec

        click.echo(msgspec.json.encode({"source": source, "line": text}))
    else:
        click.echo(f"{click.style(source, fg='cyan')}  {text}" if many else text)


def follow(find: Callable[[], list[Path]], ends: dict[Path, int]) -> Generator[tuple[str, bytes]]:
    """Lines that are written after `ends` to the files that `find` names, and all of files that appear later: the
    file's stem, and the line."""
    with contextlib.ExitStack() as opened:
        followers = {path: opened.enter_context(tail.Follower(path, end)) for path, end in ends.items()}
        rests = dict.fromkeys(followers, b"")
        while True:
            for path in find():
                if path not in followers:
                    followers[path], rests[path] = opened.enter_context(tail.Follower(path)), b""
            for path, follower in followers.items():
                while data := follower.read():
                    *whole, rests[path] = (rests[path] + data).split(b"\n")
                    yield from ((path.stem, line) for line in whole)
            time.sleep(POLL_SECONDS)


def find(folder: Path, name: str, *, exact: bool = False) -> list[Path]:
    """The log files of an endpoint or a replica, or those whose name starts with `gateway` or `control`."""
    more = r"(\.\w+)?" if name in ("gateway", "control") else ""
    replicas = "" if exact else r"|-[0-9a-f]{6}-\d+"
    wanted = re.compile(rf"{re.escape(name)}({more}{replicas})")
    found = (path for path in folder.glob("*.log") if wanted.fullmatch(path.stem))
    return sorted(found, key=lambda path: path.stem)


def names(folder: Path) -> list[str]:
    return sorted({re.sub(r"-[0-9a-f]{6}-\d+$", "", path.stem).partition(".")[0] for path in folder.glob("*.log")})


FORMATS = ("table", "json", "csv", "parquet")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@click.command(cls=Command)
@click.argument("endpoint", shell_complete=endpoints)
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
        _print_rows(answer.table)
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


def _print_rows(found: Any) -> None:
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
