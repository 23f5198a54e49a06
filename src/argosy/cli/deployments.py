"""`argosy fleet deploy`, `status`, `pause`, `resume` and `abort`: deployments of a fleet."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import msgspec

from argosy.cli.alerts import seconds
from argosy.cli.base import Command, json_option
from argosy.cli.completion import references
from argosy.cli.here import actor, control, reason_option
from argosy.cli.output import Columns, emit, pairs, table
from argosy.console.words import clock, percent, size
from argosy.spec import fleet as spec
from argosy.spec.errors import InvalidArgument
from argosy.spec.fleet import Deployment
from argosy.spec.foreign import printable
from argosy.spec.strict import convert, load_yaml

YAML = click.Path(exists=True, dir_okay=False, path_type=Path)
MOST_YAML = 1024 * 1024


@click.command(cls=Command)
@click.argument("name", metavar="FLEET")
@click.argument("model", required=False, shell_complete=references)
@click.option("--file", "-f", type=YAML, help="The declaration in YAML; options win over it.")
@click.option("--match", multiple=True, metavar="KEY=VALUE", help="Only devices with this label; may be repeated.")
@click.option("--waves", metavar="1%,10%,100%", help="Shares or numbers of devices, each with those before it.")
@click.option("--minimum", metavar="TIME", help="How long a wave lasts at least: 10m, 1h.  [10m]")
@click.option("--reports", type=click.IntRange(1), help="Devices of a wave that have to have committed.  [20]")
@click.option("--failures", metavar="PERCENT", help="Of the devices that took it, so many may fail.  [5%]")
@click.option(
    "--silence", metavar="TIME", help="A device that says nothing for so long while it is at it failed.  [30m]"
)
@click.option("--shadow/--live", default=None, help="Devices try it on copies of requests, or on requests.  [shadow]")
@click.option("--rows", type=click.IntRange(1), help="Answers that a device compares before it commits.  [100]")
@click.option("--agreement", metavar="PERCENT", help="Of those, as many have to be the same.  [90%]")
@click.option("--payloads", metavar="PERCENT", help="Of the requests, whose inputs and outputs are sent.  [0%]")
@reason_option
@json_option
def deploy(name: str, model: str | None, file: Path | None, reason: str, as_json: bool, **options: Any) -> None:
    """Bring MODEL to the devices of FLEET, wave after wave.

    A wave takes in as many devices as it says, and no more. The next one begins when the minimums are reached and no
    more devices have failed than may; evidence that the version is bad stops it. JSON: see `argosy fleet status`.

    \b
    Example:
      argosy fleet deploy scanners digits:3 --waves 1%,10%,100% --minimum 10m
      argosy fleet deploy scanners digits:4 --match site=north --failures 2% -m "the new camera"
    """
    body = msgspec.to_builtins(declared(name, model, file, options)) | why(reason)
    found = control().post(f"{path(name)}/deployments", body)
    again = f"argosy fleet status {name}"
    emit(found, as_json, lambda: click.echo(f"deployment {found['number']} of {found['ref']} has begun:  {again}"))


def declared(name: str, model: str | None, file: Path | None, options: dict[str, Any]) -> Deployment:
    """The declaration of the file, with what the options say. Raises InvalidArgument."""
    if file is not None and file.stat().st_size > MOST_YAML:
        raise InvalidArgument(f"{file} is larger than {MOST_YAML} bytes")
    where = str(file) if file else "the options"
    found: dict[str, Any] = load_yaml(file.read_bytes(), dict[str, Any], where) if file else {}
    if found.setdefault("fleet", name) != name:
        raise InvalidArgument(f"{where}: it is for fleet '{str(found['fleet'])[:63]}', not for '{name[:63]}'")
    given = {
        "model": model,
        "match": spec.labels(options["match"], "--match") or None,
        "waves": msgspec.to_builtins(spec.waves(options["waves"])) if options["waves"] else None,
        "seconds": seconds(options["minimum"], "--minimum") if options["minimum"] else None,
        "reports": options["reports"],
        "payloads": _share(options["payloads"], "--payloads"),
    }
    stop = {
        "failures": _share(options["failures"], "--failures"),
        "silence": seconds(options["silence"], "--silence") if options["silence"] else None,
    }
    mode = {None: None, True: "shadow", False: "live"}[options["shadow"]]
    trial = {"mode": mode, "rows": options["rows"], "agreement": _share(options["agreement"], "--agreement")}
    for key, part in (("stop", stop), ("trial", trial)):
        if said := {name: value for name, value in part.items() if value is not None}:
            given[key] = {**convert(found.get(key) or {}, dict[str, Any], f"{where}: {key}"), **said}
    found |= {key: value for key, value in given.items() if value is not None}
    if not found.get("model"):
        raise InvalidArgument("name the model to deploy: argosy fleet deploy FLEET name:3")
    return convert(found, Deployment, where)


def _share(text: str | None, option: str) -> float | None:
    if text is None:
        return None
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise InvalidArgument(f"{option} is a share, as 5% or 0.05, not '{text[:40]}'") from None


@click.command(cls=Command)
@click.argument("name", metavar="FLEET")
@click.argument("number", type=click.IntRange(1), required=False)
@json_option
def status(name: str, number: int | None, as_json: bool) -> None:
    """List the deployments of FLEET, or show one: its waves, what its devices did, and what it waits for.

    JSON: {fleet, number, ref, package, state, reason, match, wave, waves, states, devices: {matching, assigned,
    offline, begun, committed, failed, silent}, failures, compared, agreed, sent, again, left_out, created, changed,
    actor}, of all in a list; `failures` are the bounds of the share of devices that fail.

    \b
    Example:
      argosy fleet status scanners
      argosy fleet status scanners 3
    """
    if number is not None:
        one = control().get(f"{path(name)}/deployments/{number}")
        emit(one, as_json, lambda: _print(one))
        return
    found = control().get(f"{path(name)}/deployments")
    columns: Columns = {
        "number": "number",
        "model": "ref",
        "for": lambda one: _labels(one["match"]),
        "state": "state",
        "wave": lambda one: f"{one['wave']}/{len(one['waves'])}",
        "committed": ("devices", lambda of: f"{of['committed']:,} of {of['matching']:,}"),
        "failed": ("devices", lambda of: of["failed"]),
        "since": ("created", clock),
        "reason": "reason",
    }
    emit(found, as_json, lambda: table(columns, found, f"no deployments yet: argosy fleet deploy {name} MODEL"))


def _print(one: dict[str, Any]) -> None:
    (low, high), of = one["failures"], one["devices"]
    rows = [
        ("model", f"{one['ref']}  {one['package']}"),
        ("state", f"{one['state']}: {one['reason']}" if one["reason"] else one["state"]),
        ("devices", f"{of['committed']:,} of {of['matching']:,} have it, {of['offline']:,} are offline"),
        ("failed", f"{of['failed']:,} of {of['begun']:,}; {percent(low)} to {percent(high)} of all, at any time"),
        ("sent", f"{size(one['sent'])}, {size(one['again'])} of it again"),
    ]
    if one["match"]:
        rows.insert(1, ("for", _labels(one["match"])))
    if one["compared"]:
        rows.insert(4, ("agreement", f"{one['agreed']:,} of {one['compared']:,} answers are the same"))
    rows += [("left out", f"{count:,} devices: {printable(why)}") for why, count in one["left_out"].items()]
    pairs(rows)
    click.echo()
    columns: Columns = {
        "wave": lambda place: f"{'> ' if place + 1 == one['wave'] else '  '}{place + 1}",
        "takes": lambda place: _takes(one["waves"][place]),
        "devices": lambda place: ", ".join(f"{many:,} {state}" for state, many in one["states"][place].items()),
    }
    table(columns, range(len(one["waves"])))


def _takes(wave: dict[str, Any]) -> str:
    number = f"{wave['devices']:,}" if wave["devices"] else percent(1.0 if wave["share"] is None else wave["share"])
    return f"{number} of {_labels(wave['match'])}" if wave["match"] else number


def _labels(labels: dict[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(labels.items())) or "all"


def _order(what: str, help: str) -> click.Command:
    """One command that gives one order."""

    @click.argument("name", metavar="FLEET")
    @click.argument("number", type=click.IntRange(1), required=False)
    @reason_option
    @json_option
    def give(name: str, number: int | None, reason: str, as_json: bool) -> None:
        number = number or _only(name, control().get(f"{path(name)}/deployments"))
        found = control().post(f"{path(name)}/deployments/{number}/{what}", why(reason))
        emit(found, as_json, lambda: click.echo(f"deployment {number} is {found['state']}"))

    help = f"{help} Without NUMBER: the one that is under way."
    example = f"\n\nJSON: see `argosy fleet status`.\n\n\b\nExample:\n  argosy fleet {what} scanners 3"
    return click.command(what, cls=Command, help=help + example)(give)


def _only(name: str, found: list[dict[str, Any]]) -> int:
    """The number of the one deployment that is under way. Raises InvalidArgument."""
    numbers = [one["number"] for one in found if one["state"] in ("running", "paused")]
    if len(numbers) != 1:
        there = f"{len(numbers)} deployments are under way: {', '.join(map(str, numbers))}" if numbers else "none is"
        raise InvalidArgument(f"name the number of the deployment of fleet '{name[:63]}': {there}")
    return numbers[0]


COMMANDS = (
    deploy,
    status,
    _order("pause", "Give no more devices the update, and stop those that are at it where they are."),
    _order("resume", "Go on after a pause, also after one for failures: those are then excused."),
    _order("abort", "Give it to no device any more; those that have not committed it go back."),
)


def why(reason: str) -> dict[str, Any]:
    """Who asks for a change, and why."""
    return {"actor": actor(), "reason": reason}


def path(name: str) -> str:
    """The path of a fleet in the control API."""
    return f"/v1/fleets/{quote(name, safe='')}"
