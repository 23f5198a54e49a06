"""`argosy fleet`: fleets, the tokens by which devices come in, the devices; with the deployments of `deployments`."""

from pathlib import Path
from urllib.parse import quote

import click

from argosy.cli.alerts import seconds
from argosy.cli.base import Group, json_option
from argosy.cli.deployments import COMMANDS, path, why
from argosy.cli.here import control, reason_option
from argosy.cli.output import Columns, emit, table
from argosy.console.words import clock
from argosy.spec.fleet import labels as given_labels
from argosy.spec.foreign import printable

PEM = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(cls=Group)
def fleet() -> None:
    """Fleets of devices that run models without a network.

    \b
    Example:
      argosy fleet create scanners
      argosy fleet token scanners --uses 20 --label site=north
      argosy fleet devices scanners
      argosy fleet deploy scanners digits:3 --waves 1%,10%,100%
      argosy fleet revoke scanners scanners-4f1c22a07b9e --reason stolen
    """


@fleet.command()
@click.argument("name")
@click.option("--owner", type=PEM, help="Certificates of an authority: its devices enrol without a token.")
@click.option(
    "--signer", "signers", type=PEM, multiple=True, help="A key or an authority that has to have signed packages."
)
@reason_option
@json_option
def create(name: str, owner: Path | None, signers: tuple[Path, ...], reason: str, as_json: bool) -> None:
    """Make a fleet. Devices become part of it by `argosy fleet token`.

    With --signer, which may be repeated, devices run no package that none of them has signed. JSON: {name, created,
    actor, owner, signers, last, devices, counts}.

    \b
    Example:
      argosy fleet create scanners
      argosy fleet create scanners --owner factory-ca.pem --signer release.pub
    """
    body = {
        "name": name,
        "owner": owner.read_text("ascii", "replace") if owner else "",
        "signers": [each.read_text("ascii", "replace") for each in signers],
    }
    found = control().post("/v1/fleets", body | why(reason))
    line = f"fleet {name} is there; its first device:  argosy fleet token {name}"
    emit(found, as_json, lambda: click.echo(line))


@fleet.command("ls")
@json_option
def every(as_json: bool) -> None:
    """List fleets. JSON: a list of {name, created, actor, owner, signers, last, devices, counts}.

    \b
    Example:
      argosy fleet ls
    """
    found = control().get("/v1/fleets")
    columns: Columns = {
        "name": "name",
        "devices": lambda one: ", ".join(f"{many} {state}" for state, many in one["devices"].items()),
        "deployments": "last",
        "created": ("created", clock),
    }
    emit(found, as_json, lambda: table(columns, found, "no fleets yet: argosy fleet create NAME"))


@fleet.command()
@click.argument("name", metavar="FLEET")
@click.option("--uses", type=click.IntRange(1, 100_000), default=1, show_default=True, help="Devices it is good for.")
@click.option("--for", "length", default="1d", show_default=True, metavar="TIME", help="How long: 30m, 12h, 7d, 4w.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Given to each; may be repeated.")
@reason_option
@json_option
def token(name: str, uses: int, length: str, labels: tuple[str, ...], reason: str, as_json: bool) -> None:
    """Make a token by which devices become part of FLEET. It is shown this once: only its hash is kept.

    JSON: {fleet, token, uses, expires, url}.

    \b
    Example:
      argosy fleet token scanners --uses 20 --for 7d --label site=north
    """
    body = {"uses": uses, "seconds": int(seconds(length)), "labels": given_labels(labels, "--label")}
    found = control().post(f"{path(name)}/tokens", body | why(reason))
    url = found["url"] or "URL"

    def shown() -> None:
        click.echo(found["token"])
        click.echo(f"on the device:  argosy-edge enrol {url} --fleet {name} --token TOKEN", err=True)

    emit(found, as_json, shown)


@fleet.command()
@click.argument("name", metavar="FLEET")
@click.option("--state", type=click.Choice(("active", "suspended", "revoked")), help="Only those.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Only those with it; may be repeated.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=1000, show_default=True, help="So many at the most.")
@json_option
def devices(name: str, state: str | None, labels: tuple[str, ...], limit: int, as_json: bool) -> None:
    """List the devices of FLEET. What they say of themselves is as they say it.

    JSON: a list of {id, fleet, labels, facts, created, seen, state, why, since, assigned, index, committed, candidate,
    phase, lost}; times are seconds since 1970.

    \b
    Example:
      argosy fleet devices scanners --label site=north
    """
    wanted = ",".join(f"{key}={value}" for key, value in given_labels(labels, "--label").items())
    found = control().get(f"{path(name)}/devices", state=state, labels=wanted or None, limit=limit)
    columns: Columns = {
        "device": "id",
        "state": lambda one: f"{one['state']}: {one['why']}" if one["why"] else one["state"],
        "labels": lambda one: ", ".join(f"{key}={value}" for key, value in sorted(one["labels"].items())),
        "machine": lambda one: printable(str(one["facts"].get("machine", ""))),
        "update": lambda one: one["index"] or "",
        "phase": "phase",
        "heard": ("seen", clock),
    }
    emit(found, as_json, lambda: table(columns, found, f"no such devices: argosy fleet token {name}"))


@fleet.command()
@click.argument("name", metavar="FLEET")
@click.argument("device")
@click.argument("labels", nargs=-1, required=True, metavar="KEY=VALUE|KEY-...")
@reason_option
@json_option
def label(name: str, device: str, labels: tuple[str, ...], reason: str, as_json: bool) -> None:
    """Give DEVICE labels; KEY- takes one away. JSON: the device, as `argosy fleet devices` has it.

    \b
    Example:
      argosy fleet label scanners scanners-4f1c22a07b9e site=south line-
    """
    gone = dict.fromkeys(each[:-1] for each in labels if each.endswith("-") and "=" not in each)
    given = given_labels([each for each in labels if each[:-1] not in gone], "labels")
    where = f"{path(name)}/devices/{quote(device, safe='')}/labels"
    found = control().post(where, {"labels": given | gone} | why(reason))
    shown = ", ".join(f"{key}={value}" for key, value in sorted(found["labels"].items()))
    emit(found, as_json, lambda: click.echo(f"{device}: {shown or 'no labels'}"))


@fleet.command("new-key")
@click.option("--retire", is_flag=True, help="Those before it count no more, as after a theft.")
@reason_option
@json_option
def new_key(retire: bool, reason: str, as_json: bool) -> None:
    """Have a new key sign the updates of all fleets. Devices take it over by the signature of the one before.

    With --retire, updates that are under way have to be deployed anew. JSON: {number, keys}.

    \b
    Example:
      argosy fleet new-key --reason "once a year"
    """
    found = control().post("/v1/fleet-key", {"retire": retire} | why(reason))
    emit(found, as_json, lambda: click.echo(f"key {found['number']} signs from now on"))


@fleet.command()
@click.argument("name", metavar="FLEET")
@click.argument("device")
@reason_option
@json_option
def revoke(name: str, device: str, reason: str, as_json: bool) -> None:
    """Take the identity of DEVICE away, from this moment on: it gets no update and its reports are refused.

    The model that it runs stays with it. To use the device again, enrol it anew. JSON: the device, as `argosy fleet
    devices` has it.

    \b
    Example:
      argosy fleet revoke scanners scanners-4f1c22a07b9e --reason stolen
    """
    found = control().post(f"{path(name)}/devices/{quote(device, safe='')}/revoke", why(reason))
    emit(found, as_json, lambda: click.echo(f"device {device} is revoked"))


for each in COMMANDS:
    fleet.add_command(each)
