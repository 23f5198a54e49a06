"""Declarations in files: one YAML document for each endpoint."""

import sys
from pathlib import Path
from typing import Any, cast

import click

from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import InvalidArgument

MAX_BYTES = 1024 * 1024

file_option = click.option(
    "-f", "--file", "files", multiple=True, required=True, metavar="FILE", help="YAML; - is standard input. Repeatable."
)


def read(files: tuple[str, ...]) -> list[Endpoint]:
    """Every endpoint that the files declare. Raises InvalidArgument, naming file, document and key; NotFound."""
    from argosy.spec import strict

    found: dict[str, str] = {}
    endpoints: list[Endpoint] = []
    for file in files:
        for endpoint in strict.load_yaml_documents(_text(file), Endpoint, _where(file)):
            if endpoint.name in found:
                raise InvalidArgument(f"{_where(file)} declares '{endpoint.name}', as {found[endpoint.name]} does")
            found[endpoint.name] = _where(file)
            endpoints.append(_placed(endpoint, Path.cwd() if file == "-" else Path(file).absolute().parent))
    if not endpoints:
        raise InvalidArgument(f"{', '.join(map(_where, files))} declares no endpoint")
    return endpoints


def _placed(endpoint: Endpoint, folder: Path) -> Endpoint:
    """With its reference as an absolute path; in the file it is relative to the file."""
    import msgspec

    monitor = endpoint.monitor
    if monitor is None or not monitor.reference:
        return endpoint
    path = str(folder / Path(monitor.reference).expanduser())
    return msgspec.structs.replace(endpoint, monitor=msgspec.structs.replace(monitor, reference=path))


def _where(file: str) -> str:
    return "the standard input" if file == "-" else file


def _text(file: str) -> bytes:
    if file == "-":
        data = sys.stdin.buffer.read(MAX_BYTES + 1)
    else:
        with Path(file).open("rb") as handle:
            data = handle.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise InvalidArgument(f"{_where(file)} is over {MAX_BYTES} bytes: that is no declaration")
    return data


ACTIONS = {
    "nothing": "nothing changes",
    "create": "a new endpoint",
    "revision": "a new revision rolls out",
    "scale": "its replicas change in number",
    "settings": "settings change; no new replica is needed",
}


def told(plan: dict[str, Any]) -> list[str]:
    """A plan for people: what happens, then each field."""
    head = f"{plan['name']}: {ACTIONS[plan['action']]}"
    if plan["action"] in ("create", "revision"):
        head += f" ({plan['version']}, {plan['digest'][:19]})"
    return [head, *(f"  {change_line(change)}" for change in plan["changes"]), *map(_key_line, plan["keys"])]


STEPS = {"make": "is made, and shown once", "change": "changes", "revoke": "is revoked"}


def _key_line(step: dict[str, Any]) -> str:
    rate = f", {step['requests_per_second']:g} requests a second" if step["requests_per_second"] else ""
    burst = f", {step['burst']} at once" if step["burst"] else ""
    limits = "" if step["action"] == "revoke" else rate + burst
    why = "" if step["declared"] else " (no key covers the endpoint)"
    return f"  key {step['name']}{' ' * bool(step['id'])}{step['id']} {STEPS[step['action']]}{limits}{why}"


def change_line(change: dict[str, Any]) -> str:
    """`field: old → new`."""
    import msgspec

    old, new = (
        "-" if change[side] is None else msgspec.json.encode(_short(change[side])).decode() for side in ("old", "new")
    )
    return f"{change['field']}: {old} → {new}"


def _short(value: Any) -> Any:
    """Tables in a list without what is empty in them."""
    if not isinstance(value, list):
        return value
    rows = cast("list[Any]", value)
    return [
        {k: v for k, v in cast("dict[str, Any]", row).items() if v} if isinstance(row, dict) else row for row in rows
    ]
