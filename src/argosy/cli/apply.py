"""`argosy plan`, `apply`, `get`, `deploy` and `undeploy`: declaring endpoints."""

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import click

from argosy.cli import declaration, keys
from argosy.cli.base import Command, json_option
from argosy.cli.completion import endpoints, references
from argosy.cli.curl import endpoint_call
from argosy.cli.here import actor, control, endpoint_path, place, reason_option
from argosy.cli.output import Report, emit, pairs, progress
from argosy.cli.runtime import runtime_of, runtime_options
from argosy.client.control import ControlClient
from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import BadPackage, DeadlineExceeded, InvalidArgument, NotFound

DIFFERENT = 11
"""The exit status of `argosy plan` where something would change."""
POLL_SECONDS = 2.0
WAIT_SECONDS = 600.0
AT_ONCE = 16
"""Endpoints that are planned, or written, at the same time."""

generation_option = click.option(
    "--generation",
    type=click.IntRange(min=0),
    help="The generation this is made on (0: none yet); a conflict if it has another one.",
)


def write_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options of the commands that write a declaration: why, on which generation, and how long to wait."""
    wait = click.option("--wait/--no-wait", default=True, help="Wait until it is ready.  [default: wait]")
    timeout = click.option(
        "--wait-timeout", type=click.FloatRange(min=0), help="Seconds to wait at most.  [default: 600]"
    )
    return reason_option(generation_option(wait(timeout(command))))


def wait_seconds(wait: bool, timeout: float | None) -> float | None:
    """How long to wait until an endpoint is ready; None: not at all. Raises InvalidArgument."""
    if timeout is not None and not wait:
        raise InvalidArgument("--wait-timeout and --no-wait exclude each other")
    return (WAIT_SECONDS if timeout is None else timeout) if wait else None


def write(
    api: ControlClient, endpoint: Endpoint, generation: int, reason: str
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Declare an endpoint. The answer, and new keys as (name, text) for people, who see them this once; one is saved
    for `argosy predict`, if none was."""
    found = _put(api, endpoint, generation, reason)
    return found, _keep_keys(endpoint, found)


def _put(api: ControlClient, endpoint: Endpoint, generation: int, reason: str) -> dict[str, Any]:
    path = endpoint_path(endpoint.name)
    return api.put(path, endpoint, generation=generation, actor=actor(), reason=reason or None)


def _keep_keys(endpoint: Endpoint, found: dict[str, Any]) -> list[tuple[str, str]]:
    for step in found["changed"]["keys"]:
        if step["action"] == "revoke":
            keys.forget(place(), step["id"])
    own = [{"name": endpoint.name, "id": found["key_id"], "key": found["key"]}] if found["key"] else []
    shown: list[tuple[str, str]] = []
    for key in [*own, *found["keys"]]:
        note = "not shown again"
        if key in own or keys.find(place(), endpoint.name) is None:
            saved = keys.SavedKey(key["id"], key["key"], found["url"])
            note += f"; kept in {keys.save(place(), endpoint.name, saved)}"
        shown.append((f"key {key['name']}" if found["keys"] else "key", f"{key['key']}  ({note})"))
    return shown


def settle(api: ControlClient, name: str, seconds: float, report: Report) -> dict[str, Any]:
    """Wait until an endpoint is ready or stopped. Raises BadPackage when it fails, DeadlineExceeded when it takes too
    long."""
    end = time.monotonic() + seconds
    reported = ""
    while True:
        wait = max(0.0, min(POLL_SECONDS, end - time.monotonic()))
        status = api.get(endpoint_path(name), wait=wait)
        if status["state"] == "failed":
            raise BadPackage(status["reason"])
        if status["state"] in ("ready", "stopped"):
            return status
        step = f"{status['state']}: {status['ready']} of {status['replicas']} replicas ready"
        if sys.stderr.isatty():
            report(f"{step}  {status['reason']}")
        elif step != reported:
            report(reported := step)
        if time.monotonic() >= end:
            reason = f": {status['reason']}" if status["reason"] else ""
            raise DeadlineExceeded(f"'{name}' is still {status['state']} after {seconds:g} s{reason}; see  argosy ps")


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
    plans = _plans(control(), declaration.read(files))
    emit(plans, as_json, lambda: click.echo("\n".join(line for one in plans for line in declaration.plan_lines(one))))
    if any(one["action"] != "nothing" for one in plans):
        context.exit(DIFFERENT)


def _plans(api: ControlClient, endpoints: list[Endpoint]) -> list[dict[str, Any]]:
    def planned(endpoint: Endpoint) -> dict[str, Any]:
        return api.post(f"{endpoint_path(endpoint.name)}/plan", endpoint)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(planned, endpoints))


@click.command(cls=Command)
@declaration.file_option
@write_options
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
    seconds = wait_seconds(wait, wait_timeout)
    api, endpoints = control(), declaration.read(files)
    if generation is not None and len(endpoints) > 1:
        raise InvalidArgument("--generation is for one endpoint, and there are several here")
    found: list[dict[str, Any]] = []

    def put(endpoint: Endpoint, made_on: int) -> dict[str, Any]:
        return _put(api, endpoint, made_on if generation is None else generation, reason)

    made_on = [int(one["generation"]) for one in _plans(api, endpoints)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        puts = pool.map(put, endpoints, made_on)
        for endpoint, written in zip(endpoints, puts, strict=True):
            shown = _keep_keys(endpoint, written)
            found.append(written)
            if not as_json:
                lines = [*declaration.plan_lines(written["changed"]), *(f"  {name}: {text}" for name, text in shown)]
                click.echo("\n".join(lines))
    if seconds is not None:
        with progress("Waiting until all are ready") as report:
            for one in found:
                one["endpoint"] = settle(api, one["endpoint"]["name"], seconds, report)

    def render() -> None:
        for one in found if wait else ():
            status, name = one["endpoint"], click.style(one["endpoint"]["name"], bold=True)
            click.echo(f"{name} is {status['state']}: {status['version']}  {one['url']}")

    emit(found, as_json, render)


@click.command(cls=Command)
@click.argument("name", shell_complete=endpoints)
@json_option
def get(name: str, as_json: bool) -> None:
    """Print the declaration of an endpoint as it is in effect, defaults included, as YAML for `argosy apply`.

    JSON: the declaration.

    \b
    Example:
      argosy get digits > digits.yaml
    """
    from argosy.spec import strict

    found = control().endpoint(name)["endpoint"]
    emit(found, as_json, lambda: click.echo(strict.dump_yaml(found), nl=False))


@click.command(cls=Command)
@click.argument("ref", shell_complete=references)
@click.option("--name", help="The endpoint's name; by default the model's.", shell_complete=endpoints)
@click.option(
    "--target", type=click.Choice(["local", "kubernetes", "ray"]), help="Where replicas run.  [default: the platform's]"
)
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
        call = endpoint_call(status["digest"], name, found["url"], status["endpoint"]["public"])
        click.echo(f"try it with  {call}")

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
    fields = ("target", "replicas", "timeout", "retries", "public", "follow")
    changes = {field: given[field] for field in fields if given[field] is not None}
    changes.setdefault("follow", base.follow and "@" in ref)
    changes["runtime"] = runtime_of(given, base.runtime)
    return msgspec.structs.replace(base, model=ref, **changes), generation


@click.command(cls=Command)
@click.argument("name", shell_complete=endpoints)
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
