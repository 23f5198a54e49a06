"""`argosy config`."""

import re
from typing import Any, cast

import click

from argosy.cli.base import Command, json_option
from argosy.cli.output import Columns, emit, table


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
