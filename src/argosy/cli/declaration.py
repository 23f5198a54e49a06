"""Declarations in files: one YAML document for each endpoint."""

import contextlib
import sys
from pathlib import Path
from typing import Any, cast

import click

from argosy.console.words import limits as limits_in_words
from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import InvalidArgument

MAX_BYTES = 1024 * 1024

file_option = click.option(
    "-f", "--file", "files", multiple=True, required=True, metavar="FILE", help="YAML; - is standard input. Repeatable."
)


def read(files: tuple[str, ...]) -> list[Endpoint]:
    """Every endpoint that the files declare, references as absolute paths: in a file they are relative to it. Raises
    InvalidArgument, naming file, document and key; NotFound."""
    import msgspec

    from argosy.spec import strict

    found: dict[str, tuple[str, Endpoint]] = {}
    for file in files:
        where = _where(file)
        with contextlib.nullcontext(sys.stdin.buffer) if file == "-" else Path(file).open("rb") as handle:
            data = handle.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise InvalidArgument(f"{where} is over {MAX_BYTES} bytes: that is no declaration")
        folder = Path.cwd() if file == "-" else Path(file).absolute().parent
        for endpoint in strict.load_yaml_documents(data, Endpoint, where):
            if endpoint.name in found:
                raise InvalidArgument(f"{where} declares '{endpoint.name}', as {found[endpoint.name][0]} does")
            monitor = endpoint.monitor
            if monitor is not None and monitor.reference:
                path = str(folder / Path(monitor.reference).expanduser())
                monitor = msgspec.structs.replace(monitor, reference=path)
            found[endpoint.name] = where, msgspec.structs.replace(endpoint, monitor=monitor)
    if not found:
        raise InvalidArgument(f"{', '.join(map(_where, files))} declares no endpoint")
    return [endpoint for _, endpoint in found.values()]


def _where(file: str) -> str:
    return "the standard input" if file == "-" else file


ACTIONS = {
    "nothing": "nothing changes",
    "create": "a new endpoint",
    "revision": "a new revision rolls out",
    "scale": "its replicas change in number",
    "settings": "settings change; no new replica is needed",
}


def plan_lines(plan: dict[str, Any]) -> list[str]:
    """A plan for people: what happens, then each field."""
    head = f"{plan['name']}: {ACTIONS[plan['action']]}"
    if plan["action"] in ("create", "revision"):
        head += f" ({plan['version']}, {plan['digest'][:19]})"
    return [head, *(f"  {change_line(change)}" for change in plan["changes"]), *map(_key_line, plan["keys"])]


STEPS = {"make": "is made, and shown once", "change": "changes", "revoke": "is revoked"}


def _key_line(step: dict[str, Any]) -> str:
    rate = f", {step['requests_per_second']:g} requests a second" if step["requests_per_second"] else ""
    burst = f", {step['burst']} at once" if step["burst"] else ""
    tokens = "".join(f", {each}" for each in limits_in_words(step["limits"]))
    limits = "" if step["action"] == "revoke" else rate + burst + tokens
    why = "" if step["declared"] else " (no key covers the endpoint)"
    return f"  key {step['name']}{' ' * bool(step['id'])}{step['id']} {STEPS[step['action']]}{limits}{why}"


def change_line(change: dict[str, Any]) -> str:
    """`field: old → new`."""
    return f"{change['field']}: {_shown(change['old'])} → {_shown(change['new'])}"


def _shown(value: Any) -> str:
    """As JSON; tables in a list without what is empty in them."""
    import msgspec

    if value is None:
        return "-"
    if isinstance(value, list):
        value = [_filled(row) for row in cast("list[Any]", value)]
    return msgspec.json.encode(value).decode()


def _filled(row: Any) -> Any:
    return {key: each for key, each in cast("dict[str, Any]", row).items() if each} if isinstance(row, dict) else row
