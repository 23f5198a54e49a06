"""`argosy batch`: run, and submit, ls, status, logs, cancel of jobs that the platform runs."""

import secrets
import sys
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import click

from argosy.cli.base import Command, Group, json_option
from argosy.cli.completion import jobs, sources
from argosy.cli.here import actor, control
from argosy.cli.output import Columns, emit, pairs, table
from argosy.console.words import clock, size
from argosy.spec.errors import ArgosyError, Conflict, InvalidArgument


def _option(*names: str, **settings: Any) -> Callable[[Any], Any]:
    """An option that is absent unless it is given: what a resumed job does not say stays as it was."""
    return click.option(*names, default=None, **settings)


OPTIONS = (
    click.argument("model", required=False, shell_complete=sources),
    _option(
        "--input", "inputs", multiple=True, metavar="PATH", help="A file, folder or glob, here or s3://; repeatable."
    ),
    click.option("--output", "-o", required=True, metavar="FOLDER", help="A folder of its own, here or s3://."),
    _option("--format", type=click.Choice(["parquet", "arrow", "csv", "jsonl"]), help="Of the output.  [parquet]"),
    _option(
        "--map", "mapped", multiple=True, metavar="INPUT=COLUMN", help="An input that is called otherwise in files."
    ),
    _option(
        "--outputs", metavar="A,B", help="Of the model: those that are written, also optional ones.  [all but these]"
    ),
    _option("--keep", metavar="A,B", help="Columns that are written beside the answers."),
    _option("--partition", metavar="A,B", help="Columns of the output that it is cut into folders by."),
    _option("--nulls", metavar="A,B", help="Words that mean a missing value in CSV, beside the empty one."),
    _option(
        "--on-error", type=click.Choice(["fail", "skip", "quarantine"]), help="Rows that cannot be answered.  [fail]"
    ),
    _option("--fragment-rows", type=int, help="Rows that are committed together, about.  [262,144]"),
    _option("--batch-size", type=int, help="Rows that go to the engine at once.  [0: probed]"),
    _option("--workers", type=int, help="Processes.  [0: probed]"),
    _option("--threads", type=int, help="Threads of the engine in each.  [0: probed]"),
    _option("--checkpoint", type=float, metavar="SECONDS", help="As much is repeated after a kill, at most.  [1]"),
    _option(
        "--patience",
        type=float,
        metavar="SECONDS",
        help="A worker that tells nothing for so long hangs, and is killed; 0: never.  [1,800]",
    ),
    _option("--engine", type=click.Choice(["local", "ray"]), help="What runs the processes.  [local]"),
    _option(
        "--env",
        "variables",
        multiple=True,
        metavar="NAME=VALUE",
        help="A variable that the model gets, or NAME=$VARIABLE of this environment; repeatable.",
    ),
    _option("--network/--no-network", help="Whether the model may reach the network.  [no]"),
    _option("--template", metavar="TEXT", help="Of a language model: what a row becomes, with {column} for values."),
    _option("--slots", type=int, help="Of a language model: requests under way.  [4]"),
    _option("--context", type=int, help="Of a language model: tokens of a request with its answer.  [as trained]"),
    _option(
        "--idle",
        metavar="ENDPOINT",
        help="Of a language model: rows go to slots that replicas of this package there leave idle.",
    ),
    _option("--price", type=float, help="Of this machine per hour: shows what the job has cost."),
)


def job_settings(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """What was given, as fields of `BatchJob`. Raises InvalidArgument."""
    found = dict(options)
    for name in ("outputs", "keep", "partition", "nulls"):
        if found[name] is not None:
            found[name] = [column for column in found[name].split(",") if column]
    found["inputs"] = list(found["inputs"]) or None
    found["map"] = _map(found.pop("mapped"), "--map is INPUT=COLUMN") or None
    found["env"] = _map(found.pop("variables"), "--env is NAME=VALUE") or None
    language = {name: found.pop(name) for name in ("slots", "context")}
    found["language"] = {name: value for name, value in language.items() if value is not None} or None
    return {name: value for name, value in found.items() if value is not None}


def _map(pairs: tuple[str, ...], what: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, column = pair.partition("=")
        if not equals or not name or not column:
            raise InvalidArgument(f"{what}, not '{pair[:80]}'")
        if name in found:
            raise InvalidArgument(f"{what}, and '{name}' is given twice")
        found[name] = column
    return found


reason_option = click.option("-m", "--reason", default="", help="Why; goes into the ledger.")


@click.group(cls=Group)
def batch() -> None:
    """Answer the rows of files with a model, and write the answers to files, each row exactly once.

    \b
    Example:
      argosy batch run digits@champion --input 'data/*.parquet' --output out/
      argosy batch run --output out/ --resume
    """


@batch.command(cls=Command)
@job_settings
@click.option("--resume", is_flag=True, help="Go on with the job that was begun in the output folder.")
@click.option("--trust", is_flag=True, help="Let a file or folder run code of its author: only what you would run.")
@json_option
def run(resume: bool, trust: bool, as_json: bool, **options: Any) -> None:
    """Answer every row of the inputs with MODEL, and write the answers to a folder.

    MODEL is a reference of the registry, a digest, or the path of a package. Rows are read from Parquet, Arrow, CSV,
    JSON lines and NumPy files; columns go by name. For a language model a line of JSON is a request, {"messages": …} or
    {"prompt": …}, or one of OpenAI's batch files; with --template every row becomes one.

    What is done is written down in OUTPUT/_argosy. After a crash, a full disk or Ctrl-C the job goes on with --resume,
    for which the output is enough: no row is lost, none is there twice. --on-error quarantine writes the rows that
    cannot be answered, with the reason, to OUTPUT/_argosy/quarantine.

    JSON: {output, model, rows, out, skipped, quarantined, answered, seconds, seal, report}.

    \b
    Example:
      argosy batch run digits@champion --input 'data/*.parquet' --output out/
      argosy batch run digits:3 --input s3://in/2026/ --output s3://out/2026/ --keep id,ts --on-error quarantine
      argosy batch run gemma:1 --input prompts.jsonl --output out/ --keep custom_id --slots 8
      argosy batch run gemma:1 --input reviews.parquet --output out/ --template 'Sum up: {text}'
      argosy batch run --output out/ --resume
    """
    from argosy.batch.progress import display, say
    from argosy.client.batch import run as run_job

    settings = given(options)
    try:
        result = run_job(settings, resume=resume, display=display(), note=say, trust=trust)
    except ArgosyError as error:
        if not isinstance(error, Conflict):
            _say_how_to_resume(str(settings["output"]))
        raise
    if result.seal is None:
        _say_how_to_resume(str(settings["output"]))
        sys.exit(result.exit)
    left_out = {"skipped": result.skipped, "quarantined": result.quarantined}
    rows = [
        ("output", result.output),
        ("rows", f"{result.rows:,} read, {result.out:,} written"),
        ("left out", ", ".join(f"{count:,} {what}" for what, count in left_out.items() if count)),
        ("files", f"{result.seal.parts} ({size(result.seal.size)})"),
        ("this run", f"{result.answered:,} rows in {result.seconds:.1f} s"),
        ("model", result.model),
        ("seal", result.seal.digest),
    ]
    emit(result, as_json, lambda: pairs(rows))


def _say_how_to_resume(output: str) -> None:
    """The command that goes on, where there is something to go on with."""
    from argosy.batch.ledger import Ledger
    from argosy.batch.place import place

    try:
        begun = Ledger(place(output)).plan() is not None
    except ArgosyError:
        return
    if begun:
        click.echo(f"What is done is kept. To go on:  argosy batch run --output {output} --resume", err=True)


@batch.command(cls=Command)
@job_settings
@click.option("--name", help="Of the job.  [default: the model's, with six digits]")
@click.option("--schedule", metavar="CRON", default="", help="When it runs, as in '30 2 * * *'.  [default: once, now]")
@click.option(
    "--deadline", type=float, metavar="SECONDS", default=0.0, help="When a run is to be done.  [default: whenever]"
)
@click.option("--timezone", default="UTC", show_default=True, help="Of the schedule, as in Europe/Berlin.")
@reason_option
@json_option
def submit(
    name: str | None, schedule: str, deadline: float, timezone: str, reason: str, as_json: bool, **options: Any
) -> None:
    """Have the platform do a job, once or by a schedule.

    The options are those of `argosy batch run`. Jobs run beside endpoints on cores that nobody else wants, one at a
    time unless batch.parallel says otherwise; one that is killed goes on where it was. With --deadline, so many seconds
    after it is due, it works on its own once what is idle would not do it in time. With --schedule, OUTPUT holds
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
        "deadline": deadline,
        "timezone": timezone,
        "actor": actor(),
        "reason": reason,
    }
    found = control().post("/v1/jobs", body)
    runs = f"; it runs {clock(found['next'])} UTC" if found["next"] else ""
    emit(found, as_json, lambda: click.echo(f"job {found['name']} is {found['state']}{runs}"))


def _name(model: str) -> str:
    stem = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in model.lower())
    stem = stem.rpartition("/")[2].partition("@")[0].strip("-._")[:50]
    return f"{stem or 'job'}-{secrets.token_hex(3)}"


@batch.command("ls", cls=Command)
@json_option
def every(as_json: bool) -> None:
    """List jobs, the newest first. JSON: a list of what `status --json` gives, with the last run of each.

    \b
    Example:
      argosy batch ls
    """
    found = control().get("/v1/jobs")
    columns: Columns = {
        "job": "name",
        "model": lambda one: one["job"]["batch"]["model"],
        "state": "state",
        "rows": lambda one: _rows(one["runs"][0]) if one["runs"] else "",
        "next (UTC)": ("next", clock),
        "works": lambda one: one["runs"][0]["works"].partition(":")[0] if one["runs"] else "",
    }
    emit(found, as_json, lambda: table(columns, found, empty="no jobs yet"))


@batch.command(cls=Command)
@click.argument("name", shell_complete=jobs)
@json_option
def status(name: str, as_json: bool) -> None:
    """Show a job: what it does, how far it is, its last runs.

    JSON: {name, state, job, created, actor, next, cancelled, runs: [{number, state, due, started, ended, attempts,
    exit, error, progress, report, idle, works}]}.

    \b
    Example:
      argosy batch status nightly
    """
    found = control().get(_path(name))
    job = found["job"]
    rows = [
        ("job", found["name"]),
        ("model", job["batch"]["model"]),
        ("input", ", ".join(job["batch"]["inputs"])),
        ("output", job["batch"]["output"]),
        ("state", found["state"]),
        ("schedule", f"{job['schedule']} ({job['timezone']})" if job["schedule"] else "once"),
        ("next (UTC)", clock(found["next"])),
        ("by", found["actor"]),
    ]
    columns: Columns = {
        "run": "number",
        "state": "state",
        "started (UTC)": ("started", clock),
        "ended (UTC)": ("ended", clock),
        "rows": _rows,
        "attempts": "attempts",
        "error": "error",
    }

    def render() -> None:
        idle = [run["idle"] for run in found["runs"][:1] if run["idle"]]
        rows.extend(("works", run["works"]) for run in found["runs"][:1] if run["works"])
        pairs([*rows, *(("idle slots", _slots(job["batch"]["idle"], each)) for each in idle)])
        click.echo()
        table(columns, found["runs"][:20], empty="it has not run yet")

    emit(found, as_json, render)


@batch.command(cls=Command)
@click.argument("name", shell_complete=jobs)
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


@batch.command(cls=Command)
@click.argument("name", shell_complete=jobs)
@reason_option
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


def _slots(endpoint: str, idle: dict[str, Any]) -> str:
    return f"{idle['running']} of {endpoint} in use, {idle['waiting']} rows wait: {idle['reason']}"


def _rows(run: dict[str, Any]) -> str:
    progress = run["progress"]
    if progress is None:
        return ""
    if run["state"] != "running" or not progress["total"]:
        return f"{progress['rows']:,}"
    return f"{progress['rows']:,} of {progress['total']:,} ({progress['rows'] / progress['total']:.0%})"
