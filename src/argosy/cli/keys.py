"""`argosy keys`, and the key of an endpoint that is saved for its owner when the endpoint is deployed."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import msgspec

from argosy.cli.base import Group, json_option
from argosy.cli.completion import endpoints
from argosy.cli.here import control, place
from argosy.cli.output import Columns, emit, table
from argosy.console.words import clock, limits
from argosy.spec import strict
from argosy.spec.errors import InvalidArgument, NotFound
from argosy.spec.settings import Home


class Amount(click.ParamType[int]):
    """A whole number, of thousands with k and of millions with M behind it."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """20000, 20k or 50M. Raises BadParameter."""
        text = str(value)
        factor = {"k": 1000, "K": 1000, "M": 1_000_000}.get(text[-1:], 1)
        try:
            found = float(text.rstrip("kKM")) * factor
        except ValueError:
            found = 0.0
        if not 1 <= found < 2**53 or found != int(found):
            self.fail(f"'{text}' is not a number of tokens, as in 20000, 20k or 50M", param, ctx)
        return int(found)


class SavedKey(msgspec.Struct, frozen=True):
    """`keys/ENDPOINT.json` in the home: the id of the key, the key itself, and the URL it was given for."""

    id: str
    key: str
    url: str = ""


def save(home: Home, endpoint: str, saved: SavedKey) -> Path:
    """Write the key, readable by its owner alone from its first byte on."""
    from argosy.store.durable import replace

    path = _path(home, endpoint)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    replace(path, msgspec.json.encode(saved), path.parent, mode=0o600)
    return path


def find(home: Home, endpoint: str) -> SavedKey | None:
    return strict.stored(_path(home, endpoint), SavedKey)


def forget(home: Home, key_id: str) -> None:
    """Delete whatever was saved of a key."""
    for path in (home.root / "keys").glob("*.json"):
        saved = find(home, path.stem)
        if saved is not None and saved.id == key_id:
            path.unlink(missing_ok=True)


def _path(home: Home, endpoint: str) -> Path:
    return home.root / "keys" / f"{endpoint}.json"


@click.group(cls=Group)
def keys() -> None:
    """Create, list and revoke API keys.

    \b
    Example:
      argosy keys create mobile-app --scope digits --rate 100
      argosy keys ls
      argosy keys show digits
      argosy keys revoke 4f1c22a07b9e
    """


@keys.command()
@click.argument("endpoint", shell_complete=endpoints)
@json_option
def show(endpoint: str, as_json: bool) -> None:
    """Print the key that was kept in the home when ENDPOINT was deployed. JSON: {id, key, url}.

    \b
    Example:
      curl -H "Authorization: Bearer $(argosy keys show digits)" http://127.0.0.1:8080/v2/models/digits
    """
    saved = find(place(), endpoint)
    if saved is None:
        make = f"argosy keys create NAME --scope {endpoint}"
        raise NotFound(f"no key of '{endpoint}' is kept here; only its hash is stored. Make another with  {make}")
    emit(saved, as_json, lambda: click.echo(saved.key))


@keys.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    shell_complete=endpoints,
    help="An endpoint it may call; may be repeated.  [default: all]",
)
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Requests a second.")
@click.option("--burst", type=click.IntRange(min=1), help="Requests that may come at once; needs --rate.")
@click.option("--tokens-per-minute", type=Amount(), help="Tokens of language models, as in 20000 or 20k.")
@click.option("--tokens-per-day", type=Amount(), help="The same for a day of UTC.")
@click.option("--tokens-per-month", type=Amount(), help="The same for a month, as in 50M.")
@click.option("--money-per-day", type=click.FloatRange(min=0), help="By the price of the endpoint.")
@click.option("--money-per-month", type=click.FloatRange(min=0), help="The same for a month.")
@click.option(
    "--unreachable",
    type=click.Choice(("closed", "open")),
    help="Where tokens cannot be counted: refuse, or answer.  [default: closed]",
)
@json_option
def create(
    name: str, scopes: tuple[str, ...], rate: float | None, burst: int | None, as_json: bool, **tokens: Any
) -> None:
    """Create a key. It is shown this once: only its hash is kept.

    \b
    Example:
      argosy keys create mobile-app --scope digits --rate 100 --burst 20
      argosy keys create team-a --scope gemma --tokens-per-minute 20000 --tokens-per-month 50M
    """
    asked: dict[str, Any] = {"name": name, "scopes": scopes or ("*",), "rate": rate, "burst": burst}
    declared = {field: value for field, value in tokens.items() if value is not None}
    if declared.keys() == {"unreachable"}:
        raise InvalidArgument("--unreachable says what is done where tokens cannot be counted: give a limit of tokens")
    found = control().post("/v1/keys", asked | ({"limits": declared} if declared else {}))
    emit(found, as_json, lambda: click.echo(f"{found['key']}\nid {found['id']}; the key is not shown again"))


@keys.command("ls")
@json_option
def every(as_json: bool) -> None:
    """List keys, revoked ones too. JSON: a list of {id, name, scopes, rate, burst, limits, created, revoked}.

    \b
    Example:
      argosy keys ls --json
    """
    found = control().get("/v1/keys")
    columns: Columns = {
        "id": "id",
        "name": "name",
        "endpoints": "scopes",
        "limit": _limit,
        "created": ("created", clock),
        "revoked": ("revoked", clock),
    }
    emit(found, as_json, lambda: table(columns, found, "no keys yet"))


def _limit(key: dict[str, Any]) -> str:
    burst = f", {key['burst']} at once" if key["burst"] else ""
    rate = [] if key["rate"] is None else [f"{key['rate']:g}/s{burst}"]
    return ", ".join(rate + limits(key["limits"]))


@keys.command()
@click.argument("id", metavar="ID")
@json_option
def revoke(id: str, as_json: bool) -> None:
    """Revoke a key for good. ID is what `argosy keys ls` shows: the middle part of ak_ID_….

    \b
    Example:
      argosy keys revoke 4f1c22a07b9e
    """
    found = control().delete(f"/v1/keys/{quote(id, safe='')}")
    forget(place(), id)
    emit(found, as_json, lambda: click.echo(f"key {id} is revoked"))
