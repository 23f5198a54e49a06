"""`argosy plan`, `apply` and `get`."""

from typing import Any
from urllib.parse import quote

import click

from argosy.cli import declaration
from argosy.cli.base import Command, json_option
from argosy.cli.here import actor, control
from argosy.cli.output import emit, progress
from argosy.cli.settle import WAIT_SECONDS, generation_option, keep, reason_option, settle
from argosy.client.control import ControlClient
from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import InvalidArgument

DIFFERENT = 11


@click.command(cls=Command)
@declaration.file_option
@json_option
@click.pass_context
def plan(context: click.Context, files: tuple[str, ...], as_json: bool) -> None:
    """Print what `argosy apply` would change, field by field, and what would happen. Nothing is changed.

    Exit status 0: no difference; 11: there is one; others as of every command. JSON: a list of {name, action, changes,
    generation, version, digest, revision, keys}; action is nothing, create, revision, scale or settings.

    \b
    Example:
      argosy plan -f endpoint.yaml
    """
    api, endpoints = control(), declaration.read(files)
    plans = [_planned(api, endpoint) for endpoint in endpoints]
    emit(plans, as_json, lambda: click.echo("\n".join(line for one in plans for line in declaration.told(one))))
    if any(one["action"] != "nothing" for one in plans):
        context.exit(DIFFERENT)


def _planned(api: ControlClient, endpoint: Endpoint) -> dict[str, Any]:
    return api.post(f"/v1/endpoints/{endpoint.name}/plan", endpoint)


@click.command(cls=Command)
@declaration.file_option
@reason_option
@generation_option
@click.option("--wait/--no-wait", default=True, help="Wait until all are ready.  [default: wait]")
@click.option("--wait-timeout", type=click.FloatRange(min=0), help="Seconds to wait at most.  [default: 600]")
@json_option
def apply(
    files: tuple[str, ...], reason: str, generation: int | None, wait: bool, wait_timeout: float | None, as_json: bool
) -> None:
    """Declare endpoints from YAML, one document for each. The same file again changes nothing.

    What a file leaves out has its default; `argosy get NAME` prints a whole declaration to begin with. All are checked
    before the first is written; one that somebody else changes meanwhile is a conflict. JSON: a list of
    {endpoint, changed, url, key, key_id, keys}.

    \b
    Example of a file:
      name: digits
      model: digits@champion
      follow: true
      replicas: 2
      keys: [{name: mobile-app, requests_per_second: 100}]
    \b
    Example:
      argosy apply -f endpoint.yaml -m "the new model is better at sevens"
    """
    if wait_timeout is not None and not wait:
        raise InvalidArgument("--wait-timeout and --no-wait exclude each other")
    api, endpoints = control(), declaration.read(files)
    if generation is not None and len(endpoints) > 1:
        raise InvalidArgument("--generation is for one endpoint, and there are several here")
    seconds = WAIT_SECONDS if wait_timeout is None else wait_timeout
    plans = [_planned(api, endpoint) for endpoint in endpoints]
    found = [
        _write(api, endpoint, generation if generation is not None else one["generation"], reason, as_json)
        for endpoint, one in zip(endpoints, plans, strict=True)
    ]
    with progress("Waiting until all are ready") as report:
        for one in found if wait else ():
            one["endpoint"] = settle(api, one["endpoint"]["name"], seconds, report)
    emit(found, as_json, lambda: _print(found, wait))


def _write(api: ControlClient, endpoint: Endpoint, generation: int, reason: str, quiet: bool) -> dict[str, Any]:
    path = f"/v1/endpoints/{endpoint.name}"
    found = api.put(path, endpoint, generation=generation, actor=actor(), reason=reason or None)
    kept = keep(endpoint.name, found)
    if not quiet:
        click.echo("\n".join(declaration.told(found["changed"])))
    for name, text in kept if not quiet else ():
        click.echo(f"  {name}: {text}")
    return found


def _print(found: list[dict[str, Any]], waited: bool) -> None:
    for one in found if waited else ():
        status = one["endpoint"]
        click.echo(f"{click.style(status['name'], bold=True)} is {status['state']}: {status['version']}  {one['url']}")


@click.command(cls=Command)
@click.argument("name")
@json_option
def get(name: str, as_json: bool) -> None:
    """Print the declaration of an endpoint as it is in effect, defaults included, as YAML for `argosy apply`.

    JSON: the declaration.

    \b
    Example:
      argosy get digits > digits.yaml
    """
    from argosy.spec import strict

    found = control().get(f"/v1/endpoints/{quote(name, safe='')}")["endpoint"]
    emit(found, as_json, lambda: click.echo(strict.dump_yaml(found), nl=False))
