"""`argosy batch`: run, submit, ls, status, logs, cancel."""

import click

from argosy.cli.base import Group
from argosy.cli.batch.job import cancel, every, logs, status, submit
from argosy.cli.batch.run import run


@click.group(cls=Group)
def batch() -> None:
    """Answer the rows of files with a model, and write the answers to files, each row exactly once.

    \b
    Example:
      argosy batch run digits@champion --input 'data/*.parquet' --output out/
      argosy batch run --output out/ --resume
    """


for command in (run, submit, every, status, logs, cancel):
    batch.add_command(command)

__all__ = ["batch"]
