"""`argosy batch run`."""

import sys
from typing import Any

import click

from argosy.cli.base import Command, json_option
from argosy.cli.batch.settings import given, job_settings
from argosy.cli.output import emit, pairs, size
from argosy.spec.errors import ArgosyError


@click.command(cls=Command)
@job_settings
@click.option("--resume", is_flag=True, help="Go on with the job that was begun in the output folder.")
@click.option("--trust", is_flag=True, help="Let a file or folder run code of its author: only what you would run.")
@json_option
def run(resume: bool, trust: bool, as_json: bool, **options: Any) -> None:
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
    from argosy.batch.progress import display, say
    from argosy.client.batch import run as run_job

    settings = given(options)
    try:
        result = run_job(settings, resume=resume, display=display(), note=say, trust=trust)
    except ArgosyError as error:
        _say_how_to_resume(str(settings["output"]), error)
        raise
    if result.seal is None:
        _say_how_to_resume(str(settings["output"]))
        sys.exit(result.exit)
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
