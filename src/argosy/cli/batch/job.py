"""`argosy batch submit`, `ls`, `status`, `logs`, `cancel`: jobs that the platform runs."""

import secrets
from datetime import datetime
from typing import Any
from urllib.parse import quote

import click

from argosy.cli.base import Command, json_option
from argosy.cli.batch.settings import given, job_settings
from argosy.cli.here import actor, control
from argosy.cli.output import emit, pairs, table


@click.command(cls=Command)
@job_settings
@click.option("--name", help="Of the job.  [default: the model's, with six digits]")
@click.option("--schedule", metavar="CRON", default="", help="When it runs, as in '30 2 * * *'.  [default: once, now]")
@click.option("--timezone", default="UTC", show_default=True, help="Of the schedule, as in Europe/Berlin.")
@click.option("-m", "--reason", default="", help="Why; goes into the ledger.")
@json_option
def submit(name: str | None, schedule: str, timezone: str, reason: str, as_json: bool, **options: Any) -> None:
    """Have the platform do a job, once or by a schedule.

    The options are those of `argosy batch run`. Jobs run beside endpoints on cores that nobody else wants, one at a
    time unless batch.parallel says otherwise; one that is killed goes on where it was. With --schedule, OUTPUT holds
    {date} or {time} of each run, and inputs may. JSON: {name, state, job, next, runs, …}.

    \b
    Example:
      argosy batch submit digits@champion --input 'data/*.parquet' --output out/
      argosy batch submit digits@champion --input 'in/{date}/' -o 'out/{date}/' --schedule '30 2 * * *' --name nightly
    """
    from argosy.client.batch import absolute

    settings = absolute(given(options))
    body = {
        "name": name or _name(str(settings.get("model", "job"))),
        "batch": settings,
        "schedule": schedule,
        "timezone": timezone,
        "actor": actor(),
        "reason": reason,
    }
    found = control().post("/v1/jobs", body)
    emit(found, as_json, lambda: click.echo(f"job {found['name']} is {found['state']}{_when(found)}"))


def _name(model: str) -> str:
    stem = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in model.lower())
    stem = stem.rpartition("/")[2].partition("@")[0].strip("-._")[:50]
    return f"{stem or 'job'}-{secrets.token_hex(3)}"


@click.command("ls", cls=Command)
@json_option
def every(as_json: bool) -> None:
    """List jobs, the newest first. JSON: a list of what `status --json` gives, with the last run of each.

    \b
    Example:
      argosy batch ls
    """
    found = control().get("/v1/jobs")
    rows = [(one["name"], one["job"]["batch"]["model"], one["state"], _far(one), _time(one["next"])) for one in found]
    emit(found, as_json, lambda: table(("job", "model", "state", "rows", "next"), rows, empty="no jobs yet"))


@click.command(cls=Command)
@click.argument("name")
@json_option
def status(name: str, as_json: bool) -> None:
    """Show a job: what it does, how far it is, its last runs.

    JSON: {name, state, job, created, actor, next, cancelled, runs: [{number, state, due, started, ended, attempts,
    exit, error, progress, report}]}.

    \b
    Example:
      argosy batch status nightly
    """
    found = control().get(_path(name))
    emit(found, as_json, lambda: _print(found))


def _print(found: dict[str, Any]) -> None:
    job = found["job"]
    pairs(
        [
            ("job", found["name"]),
            ("model", job["batch"]["model"]),
            ("input", ", ".join(job["batch"]["inputs"])),
            ("output", job["batch"]["output"]),
            ("state", found["state"]),
            ("schedule", f"{job['schedule']} ({job['timezone']})" if job["schedule"] else "once"),
            ("next", _time(found["next"])),
            ("by", found["actor"]),
        ]
    )
    rows = [
        (
            str(run["number"]),
            run["state"],
            _time(run["started"]),
            _time(run["ended"]),
            _rows(run),
            str(run["attempts"]),
            run["error"],
        )
        for run in found["runs"][:20]
    ]
    click.echo()
    table(("run", "state", "started", "ended", "rows", "attempts", "error"), rows, empty="it has not run yet")


@click.command(cls=Command)
@click.argument("name")
@click.option("--run", type=click.IntRange(min=1), help="Which run.  [default: the last]")
@click.option("-n", "--lines", type=click.IntRange(min=0), default=100, show_default=True, help="Lines of the past.")
@click.option("-f", "--follow", is_flag=True, help="Keep printing what is written, until Ctrl-C.")
def logs(name: str, run: int | None, lines: int, follow: bool) -> None:
    """Print or follow what the process of a run says.

    \b
    Example:
      argosy batch logs nightly -f
    """
    for chunk in control().stream(f"{_path(name)}/logs", run=run, lines=lines, follow="true" if follow else None):
        click.echo(chunk, nl=False)


@click.command(cls=Command)
@click.argument("name")
@click.option("-m", "--reason", default="", help="Why; goes into the ledger.")
@json_option
def cancel(name: str, reason: str, as_json: bool) -> None:
    """End a job: what runs commits what it has and stops, and its schedule is over.

    What it has written stays, and `argosy batch run --output … --resume` goes on with it.

    \b
    Example:
      argosy batch cancel nightly -m "the source moves"
    """
    found = control().post(f"{_path(name)}/cancel", {"actor": actor(), "reason": reason})
    emit(found, as_json, lambda: click.echo(f"job {found['name']} is cancelled"))


def _path(name: str) -> str:
    return f"/v1/jobs/{quote(name, safe='')}"


def _when(found: dict[str, Any]) -> str:
    return f"; it runs {_time(found['next'])}" if found["next"] else ""


def _time(seconds: float | None) -> str:
    return "" if seconds is None else f"{datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M}"


def _far(found: dict[str, Any]) -> str:
    return _rows(found["runs"][0]) if found["runs"] else ""


def _rows(run: dict[str, Any]) -> str:
    progress = run["progress"]
    if progress is None:
        return ""
    if run["state"] != "running" or not progress["total"]:
        return f"{progress['rows']:,}"
    return f"{progress['rows']:,} of {progress['total']:,} ({progress['rows'] / progress['total']:.0%})"
