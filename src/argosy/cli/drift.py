"""`argosy drift`."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from argosy.cli.base import Command, json_option
from argosy.cli.here import place, store
from argosy.cli.output import Columns, emit, table
from argosy.cli.payload import moment
from argosy.spec.errors import Conflict

if TYPE_CHECKING:
    from argosy.monitoring.drift.reference import Baseline
    from argosy.packaging.package import Package

DRIFTED = 11
"""The exit status of `--fail` where a column has drifted; no error has it."""

LEAST_ROWS = 30
"""With fewer rows no interval is narrow enough to tell anything."""


@click.command(cls=Command)
@click.argument("name")
@click.option("--since", metavar="TIME", default="1h", show_default=True, help="30m, 12h, 7d, or 2026-01-31T15:00.")
@click.option("--segment", metavar="COLUMN=VALUE", default="", help="Only these rows, as in region=EU.")
@click.option("--fail", is_flag=True, help="Exit with 11 where a column has drifted.")
@json_option
def drift(name: str, since: str, segment: str, fail: bool, as_json: bool) -> None:
    """Compare what an endpoint was asked and answered lately with the data its model was pushed with.

    Works without a platform, on what was recorded of the version that serves; 'payload: {}' in the declaration
    records. A column has drifted where the evidence is strong (at most 5 % of those named are named falsely) and the
    effect matters (even the lower end of its 90 % interval lies above its margin). Evidence is an e-value: it grows
    beyond 1 by chance as rarely as one wins such odds in a fair game. Columns that are
    redacted, or that name each row (an id, an e-mail), are not compared. A segment, of the columns that
    monitor.segments declares, is compared with its own past. JSON: {endpoint, version, segment, since, until, rows,
    drifted, columns: [{column, side, rows, effects, statistics, e, drifted}]}.

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
    if segment:
        past = before(place().profiles, name, version, base, begin, segment)
        _enough(past.rows if past else 0, f"of '{segment[:80]}' before this time", "look less far back with --since")
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
        table(COLUMNS, columns, empty="no column has a distribution")
        of = f"version {version}" + (f" with {segment}" if segment else "")
        click.echo(f"{profile.rows:,} rows of {of}, {value['since']} to {value['until']}", err=True)

    emit(value, as_json, render)
    if fail and drifted:
        click.get_current_context().exit(DRIFTED)


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
    from argosy.store.endpoints import Endpoints

    with store() as opened:
        _, revision = Endpoints(opened.database).served(name)
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


COLUMNS: Columns = {
    "column": "column",
    "side": "side",
    "rows": ("rows", "{:,}".format),
    "effect": _effect,
    "evidence": _evidence,
    "verdict": _verdict,
}
