"""`argosy deploy` and `undeploy`."""

import sys
import time
from typing import Any

import click

from argosy.cli.base import Command, json_option
from argosy.cli.here import control, place
from argosy.cli.output import Report, emit, pairs, progress
from argosy.cli.runtime import runtime_of, runtime_options
from argosy.client.control import ControlClient
from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import BadPackage, DeadlineExceeded, InvalidArgument, NotFound

RESTING = ("ready", "stopped", "failed")
POLL_SECONDS = 2.0
WAIT_SECONDS = 600.0


@click.command(cls=Command)
@click.argument("ref")
@click.option("--name", help="The endpoint's name; by default the model's.")
@click.option("--replicas", type=click.IntRange(min=0), help="Running copies.  [default: 1]")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), help="Seconds for one answer.  [default: 60]")
@click.option(
    "--retries", type=click.IntRange(0, 10), help="Tries at another replica; one request can crash 1 + N.  [default: 1]"
)
@click.option("--public/--private", default=None, help="Whether anybody may call it without a key.")
@runtime_options
@click.option("--wait/--no-wait", default=True, help="Wait until it is ready.  [default: wait]")
@click.option("--wait-timeout", type=click.FloatRange(min=0), help="Seconds to wait at most.  [default: 600]")
@json_option
def deploy(ref: str, name: str | None, wait: bool, wait_timeout: float | None, as_json: bool, **given: Any) -> None:
    """Run a version as an endpoint behind the gateway, or move an endpoint to it.

    REF is name:version, name@alias or a digest; it is resolved now, once. Options that are left out keep what the
    endpoint has. While a new version starts, the old one goes on serving. A new endpoint comes with a key, shown once
    and kept in the home for `argosy predict`. JSON: {endpoint, url, key, key_id}.

    \b
    Example:
      argosy deploy digits:1 --replicas 2
      argosy deploy digits@champion --name prod --max-batch-size 128
    """
    if wait_timeout is not None and not wait:
        raise InvalidArgument("--wait-timeout and --no-wait exclude each other")
    api = control()
    endpoint = _declared(api, ref, name or _name(ref), given)
    with progress(f"Deploying {ref} as {endpoint.name}") as report:
        found = api.put(f"/v1/endpoints/{endpoint.name}", endpoint)
        kept = _keep(endpoint.name, found)
        if wait:
            found["endpoint"] = _wait(
                api, endpoint.name, WAIT_SECONDS if wait_timeout is None else wait_timeout, report
            )
    emit(found, as_json, lambda: _print(found, kept))


def _name(ref: str) -> str:
    if ref.startswith("sha256:"):
        raise InvalidArgument("a digest does not name an endpoint: add --name NAME")
    return ref.partition("@")[0].partition(":")[0]


def _declared(api: ControlClient, ref: str, name: str, given: dict[str, Any]) -> Endpoint:
    """The endpoint as it is, if it is, changed by what was given."""
    import msgspec

    try:
        base = msgspec.convert(api.endpoint(name)["endpoint"], Endpoint)
    except NotFound:
        base = Endpoint(name=name, model=ref)
    fields = ("replicas", "timeout", "retries", "public")
    changes = {field: given[field] for field in fields if given[field] is not None}
    return msgspec.structs.replace(base, model=ref, runtime=runtime_of(given, base.runtime), **changes)


def _keep(name: str, found: dict[str, Any]) -> str:
    """Save a new key; where the saved key lies, if there is one."""
    from argosy.cli import keyfile

    if found.get("key"):
        return str(keyfile.save(place(), name, keyfile.SavedKey(found["key_id"], found["key"], found["url"])))
    return ""


def _wait(api: ControlClient, name: str, seconds: float, report: Report) -> dict[str, Any]:
    """Follow an endpoint until it rests. Raises BadPackage when it fails, DeadlineExceeded when it takes too long."""
    end = time.monotonic() + seconds
    told = ""
    while True:
        status = api.get(f"/v1/endpoints/{name}", wait=max(0.0, min(POLL_SECONDS, end - time.monotonic())))
        if status["state"] == "failed":
            raise BadPackage(status["reason"])
        if status["state"] in RESTING:
            return status
        step = f"{status['state']}: {status['ready']} of {status['replicas']} replicas ready"
        if step != told or sys.stderr.isatty():
            report(told := step)
        if time.monotonic() >= end:
            reason = f": {status['reason']}" if status["reason"] else ""
            raise DeadlineExceeded(f"'{name}' is still {status['state']} after {seconds:g} s{reason}; see  argosy ps")


def _print(found: dict[str, Any], kept: str) -> None:
    status = found["endpoint"]
    click.echo(
        f"{click.style(status['name'], bold=True)} is {status['state']}: {status['version']}, "
        f"{status['ready']} of {status['replicas']} replicas ready"
    )
    pairs([("url", found["url"]), ("key", found.get("key")), ("kept", kept and f"{kept} (the key is not shown again)")])
    click.echo(f"try it with  argosy predict {status['name']} -d @rows.json")


@click.command(cls=Command)
@click.argument("name")
@json_option
def undeploy(name: str, as_json: bool) -> None:
    """Remove an endpoint and its replicas. Its keys stay; what is in flight is answered.

    \b
    Example:
      argosy undeploy digits
    """
    from urllib.parse import quote

    found = control().delete(f"/v1/endpoints/{quote(name, safe='')}")
    emit(found, as_json, lambda: click.echo(f"{name} is removed"))
