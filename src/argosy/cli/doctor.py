"""`argosy doctor`."""

import sys

import click

from argosy.cli.base import Command, json_option
from argosy.cli.output import emit, progress, table


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
        table(("check", "status", "found", "what to do"), [(one.name, one.status, one.found, one.fix) for one in found])
        if good:
            click.echo("everything that is needed works")

    emit({"ok": good, "checks": found}, as_json, render)
    if not good:
        sys.exit(1)
