"""`argosy verify`."""

from typing import Any

import click

from argosy.cli.base import Command, json_option
from argosy.cli.here import store
from argosy.cli.output import emit, progress


@click.command(cls=Command)
@click.argument("ref")
@json_option
def verify(ref: str, as_json: bool) -> None:
    """Re-hash every file of a package and replay its golden examples.

    The exit status is 7 when a file was altered or an answer differs.

    \b
    Example:
      argosy verify digits:1
    """
    from argosy.packaging.verify import verify as check

    with store() as place, progress(f"Verifying {ref}"):
        found: Any = check(place, ref)
    emit(found, as_json, lambda: click.echo(f"{ref} is whole and answers as it did"))
