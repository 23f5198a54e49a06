"""`argosy batch`: run."""

import click

from argosy.cli.base import Group
from argosy.cli.batch.run import run


@click.group(cls=Group)
def batch() -> None:
    """Answer the rows of files with a model, and write the answers to files, each row exactly once.

    \b
    Example:
      argosy batch run digits@champion --input 'data/*.parquet' --output out/
      argosy batch run --output out/ --resume
    """


batch.add_command(run)

__all__ = ["batch"]
