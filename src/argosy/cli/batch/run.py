"""`argosy batch run`."""

import sys
from collections.abc import Callable
from typing import Any

import click

from argosy.cli.base import INTERRUPTED, Command, json_option
from argosy.cli.output import emit, pairs, size
from argosy.spec.errors import ArgosyError, InvalidArgument


def _option(*names: str, **settings: Any) -> Callable[[Any], Any]:
    """An option that is absent unless it is given: what a resumed job does not say stays as it was."""
    return click.option(*names, default=None, **settings)


@click.command(cls=Command)
@click.argument("model", required=False)
@_option("--input", "inputs", multiple=True, metavar="PATH", help="A file, folder or glob, here or s3://; repeatable.")
@click.option("--output", "-o", required=True, metavar="FOLDER", help="A folder of its own, here or s3://.")
@_option("--format", type=click.Choice(["parquet", "arrow", "csv", "jsonl"]), help="Of the output.  [parquet]")
@_option("--map", "mapped", multiple=True, metavar="INPUT=COLUMN", help="An input that is called otherwise in files.")
@_option("--keep", metavar="A,B", help="Columns that are written beside the answers.")
@_option("--partition", metavar="A,B", help="Columns of the output that it is cut into folders by.")
@_option("--on-error", type=click.Choice(["fail", "skip", "quarantine"]), help="Rows that cannot be answered.  [fail]")
@_option("--fragment-rows", type=int, help="Rows that are committed together, about.  [262144]")
@_option("--batch-size", type=int, help="Rows that go to the engine at once.  [0: probed]")
@_option("--workers", type=int, help="Processes.  [0: probed]")
@_option("--threads", type=int, help="Threads of the engine in each.  [0: probed]")
@_option("--checkpoint", type=float, metavar="SECONDS", help="As much is repeated after a kill, at most.  [1]")
@_option("--engine", type=click.Choice(["local", "ray"]), help="What runs the processes.  [local]")
@_option("--price", type=float, help="Of this machine per hour: shows what the job has cost.")
@click.option("--resume", is_flag=True, help="Go on with the job that was begun in the output folder.")
@json_option
def run(
    model: str | None,
    inputs: tuple[str, ...],
    mapped: tuple[str, ...],
    keep: str | None,
    partition: str | None,
    resume: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Answer every row of the inputs with MODEL, and write the answers to a folder.

    MODEL is a reference of the registry, a digest, or the path of a package. Rows are read from Parquet, Arrow, CSV,
    JSON lines and NumPy files; columns go by name. What is done is written down in OUTPUT/_argosy. After a crash, a
    full disk or Ctrl-C the job goes on with --resume, for which the output is enough: no row is lost, none is there
    twice. --on-error quarantine writes the rows that cannot be answered, with the reason, to
    OUTPUT/_argosy/quarantine.

    JSON: {output, model, rows, out, skipped, quarantined, answered, seconds, seal, report}.

    \b
    Example:
      argosy batch run digits@champion --input 'data/*.parquet' --output out/
      argosy batch run digits:3 --input s3://in/2026/ --output s3://out/2026/ --keep id,ts --on-error quarantine
      argosy batch run --output out/ --resume
    """
    from argosy.batch.progress import display
    from argosy.client.batch import run as run_job

    lists = {"keep": _names(keep), "partition": _names(partition), "inputs": list(inputs) or None}
    given = settings | lists | {"model": model, "map": _map(mapped) or None}
    given = {name: value for name, value in given.items() if value is not None}
    try:
        result = run_job(given, resume=resume, display=display())
    except ArgosyError as error:
        _say_how_to_resume(str(settings["output"]), error)
        raise
    if result.seal is None:
        _say_how_to_resume(str(settings["output"]))
        sys.exit(INTERRUPTED)
    rows = [
        ("output", result.output),
        ("rows", f"{result.rows:,} read, {result.out:,} written"),
        ("left out", _left_out(result.skipped, result.quarantined)),
        ("files", f"{result.seal.parts} ({size(result.seal.size)})"),
        ("this run", f"{result.answered:,} rows in {result.seconds:.1f} s"),
        ("model", result.model),
        ("seal", result.seal.digest),
    ]
    emit(result, as_json, lambda: pairs(rows))


def _left_out(skipped: int, quarantined: int) -> str:
    parts = [f"{count:,} {what}" for count, what in ((skipped, "skipped"), (quarantined, "quarantined")) if count]
    return ", ".join(parts)


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name for name in text.split(",") if name]


def _map(pairs: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, column = pair.partition("=")
        if not equals or not name or not column:
            raise InvalidArgument(f"--map is INPUT=COLUMN, not '{pair[:80]}'")
        if name in found:
            raise InvalidArgument(f"--map names the input '{name}' twice")
        found[name] = column
    return found


def _say_how_to_resume(output: str, error: ArgosyError | None = None) -> None:
    """The command that goes on, where there is something to go on with."""
    from argosy.batch.ledger import Ledger
    from argosy.batch.place import place
    from argosy.spec.errors import Conflict

    if isinstance(error, Conflict):
        return
    try:
        begun = Ledger(place(output)).plan() is not None
    except ArgosyError:
        return
    if begun:
        click.echo(f"What is done is kept. To go on:  argosy batch run --output {output} --resume", err=True)
