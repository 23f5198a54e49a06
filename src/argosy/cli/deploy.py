"""`argosy deploy` and `undeploy`."""

from typing import Any

import click

from argosy.cli import keys
from argosy.cli.apply import generation_option, settle, wait_seconds, write, write_options
from argosy.cli.base import Command, json_option
from argosy.cli.here import actor, control, endpoint_path, place, reason_option
from argosy.cli.output import emit, pairs, progress
from argosy.cli.runtime import runtime_of, runtime_options
from argosy.client.control import ControlClient
from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import InvalidArgument, NotFound


@click.command(cls=Command)
@click.argument("ref")
@click.option("--name", help="The endpoint's name; by default the model's.")
@click.option("--replicas", type=click.IntRange(min=0), help="Running copies.  [default: 1]")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), help="Seconds for one answer.  [default: 60]")
@click.option(
    "--retries", type=click.IntRange(0, 10), help="Tries at another replica; one request can crash 1 + N.  [default: 1]"
)
@click.option("--public/--private", default=None, help="Whether anybody may call it without a key.")
@click.option("--follow/--no-follow", default=None, help="Whether it goes with its alias when that moves.")
@runtime_options
@write_options
@json_option
def deploy(
    ref: str,
    name: str | None,
    reason: str,
    generation: int | None,
    wait: bool,
    wait_timeout: float | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Run a version as an endpoint behind the gateway, or move an endpoint to it.

    REF is name:version, name@alias or a digest; it is resolved now, and with --follow again whenever the alias moves.
    Options that are left out keep what the endpoint has. While a new version starts, the old one goes on serving. A new
    endpoint comes with a key, shown once and kept in the home for `argosy predict`. This is the short form of
    `argosy apply`: it writes the same declaration. JSON: {endpoint, changed, url, key, key_id, keys}.

    \b
    Example:
      argosy deploy digits:1 --replicas 2
      argosy deploy digits@champion --name prod --max-batch-size 128
    """
    seconds = wait_seconds(wait, wait_timeout)
    api = control()
    name = name or _name(ref)
    endpoint, latest = _declared(api, ref, name, given)
    with progress(f"Deploying {ref} as {name}") as report:
        found, shown = write(api, endpoint, latest if generation is None else generation, reason)
        if seconds is not None:
            found["endpoint"] = settle(api, name, seconds, report)
    status = found["endpoint"]

    def render() -> None:
        click.echo(
            f"{click.style(name, bold=True)} is {status['state']}: {status['version']}, "
            f"{status['ready']} of {status['replicas']} replicas ready"
        )
        pairs([("url", found["url"]), *shown])
        click.echo(f"try it with  argosy predict {name} -d @rows.json")

    emit(found, as_json, render)


def _name(ref: str) -> str:
    if ref.startswith("sha256:"):
        raise InvalidArgument("a digest does not name an endpoint: add --name NAME")
    return ref.partition("@")[0].partition(":")[0]


def _declared(api: ControlClient, ref: str, name: str, given: dict[str, Any]) -> tuple[Endpoint, int]:
    """The endpoint as it is, if it is, changed by what was given; and its generation, 0 if it is not."""
    import msgspec

    try:
        found = api.endpoint(name)
        base, generation = msgspec.convert(found["endpoint"], Endpoint), int(found["generation"])
    except NotFound:
        base, generation = Endpoint(name=name, model=ref), 0
    fields = ("replicas", "timeout", "retries", "public", "follow")
    changes = {field: given[field] for field in fields if given[field] is not None}
    changes.setdefault("follow", base.follow and "@" in ref)
    changes["runtime"] = runtime_of(given, base.runtime)
    return msgspec.structs.replace(base, model=ref, **changes), generation


@click.command(cls=Command)
@click.argument("name")
@reason_option
@generation_option
@json_option
def undeploy(name: str, reason: str, generation: int | None, as_json: bool) -> None:
    """Remove an endpoint and its replicas; what is in flight is answered. JSON: {deleted}.

    Keys that its declaration made are revoked, others stay.

    \b
    Example:
      argosy undeploy digits -m "replaced by mnist"
    """
    api = control()
    found = api.delete(endpoint_path(name), generation=generation, actor=actor(), reason=reason or None)
    saved = keys.find(place(), name)
    if saved and any(key["id"] == saved.id and key["revoked"] for key in api.get("/v1/keys")):
        keys.forget(place(), saved.id)
    emit(found, as_json, lambda: click.echo(f"{name} is removed"))
