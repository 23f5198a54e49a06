"""`argosy keys`."""

from typing import Any

import click

from argosy.cli.base import Group, json_option
from argosy.cli.here import control, place
from argosy.cli.output import emit, table


@click.group(cls=Group)
def keys() -> None:
    """Create, list and revoke API keys.

    \b
    Example:
      argosy keys create mobile-app --scope digits --rate 100
      argosy keys list
      argosy keys revoke 4f1c22a07b9e
    """


@keys.command()
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, help="An endpoint it may call; may be repeated.  [default: all]")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Requests a second.")
@click.option("--burst", type=click.IntRange(min=1), help="Requests that may come at once; needs --rate.")
@json_option
def create(name: str, scopes: tuple[str, ...], rate: float | None, burst: int | None, as_json: bool) -> None:
    """Create a key. It is shown this once: only its hash is kept.

    \b
    Example:
      argosy keys create mobile-app --scope digits --rate 100 --burst 20
    """
    found = control().post("/v1/keys", {"name": name, "scopes": scopes or ("*",), "rate": rate, "burst": burst})
    emit(found, as_json, lambda: click.echo(f"{found['key']}\nid {found['id']}; the key is not shown again"))


@keys.command("list")
@json_option
def every(as_json: bool) -> None:
    """List keys, revoked ones too. JSON: a list of {id, name, scopes, rate, burst, created, revoked}.

    \b
    Example:
      argosy keys list --json
    """
    found = control().get("/v1/keys")
    rows = [
        (
            one["id"],
            one["name"],
            ", ".join(one["scopes"]),
            _limit(one),
            one["created"][:16],
            (one["revoked"] or "")[:16],
        )
        for one in found
    ]
    headings = ("id", "name", "endpoints", "limit", "created", "revoked")
    emit(found, as_json, lambda: table(headings, rows, "no keys yet"))


def _limit(key: dict[str, Any]) -> str:
    if key["rate"] is None:
        return ""
    return f"{key['rate']:g}/s" + (f", {key['burst']} at once" if key["burst"] else "")


@keys.command()
@click.argument("id", metavar="ID")
@json_option
def revoke(id: str, as_json: bool) -> None:
    """Revoke a key for good. ID is what `argosy keys list` shows: the middle part of ak_ID_….

    \b
    Example:
      argosy keys revoke 4f1c22a07b9e
    """
    from urllib.parse import quote

    from argosy.cli import keyfile

    found = control().delete(f"/v1/keys/{quote(id, safe='')}")
    keyfile.forget(place(), id)
    emit(found, as_json, lambda: click.echo(f"key {id} is revoked"))
