"""`argosy up`, `down`, `gateway` and `console`."""

import asyncio
import contextlib
import os
import sys
import webbrowser
from typing import TYPE_CHECKING

import click

from argosy.cli.base import Command, json_option
from argosy.cli.here import control, settings
from argosy.cli.output import emit, progress
from argosy.spec.errors import InvalidArgument
from argosy.spec.settings import home

if TYPE_CHECKING:
    from argosy.spec.settings import RunFile


@click.command(cls=Command)
@click.option("-d", "--detach", "background", is_flag=True, help="Run in the background; return when it answers.")
@click.option("--standby", is_flag=True, help="Wait for another platform on this home or database, and take over.")
@click.option("--region", default="", metavar="NAME", help="The name of this platform as a region (region.name).")
@click.option("--in-cluster", is_flag=True, help="Run in a pod, as argosy export platform has it.")
@json_option
def up(background: bool, standby: bool, region: str, in_cluster: bool, as_json: bool) -> None:
    """Start the platform on this machine: control API, gateway, and a replica for each declared endpoint.

    In the foreground it runs until Ctrl-C, then drains and stops everything it started. Replicas and the gateway that
    still run after a crash are taken over as they are. JSON (with -d): {url, pid, started, fingerprint, certificate}; a
    standby that waits has no url.

    \b
    Example:
      argosy up -d
      argosy up -d --standby
      ARGOSY_GATEWAY_PORT=9000 argosy up
    """
    place = home()
    if region:
        os.environ["ARGOSY_REGION_NAME"] = region
    if as_json and not background:
        raise InvalidArgument("--json needs -d: in the foreground there is no single answer")
    if in_cluster and background:
        raise InvalidArgument("--in-cluster is for the foreground: a pod lives as long as its first process")
    if background:
        from argosy.platform.detach import detach

        with progress("Starting the platform"):
            start = detach(place, settings(), report=lambda line: None, standby=standby, module="argosy.console")
            found = asyncio.run(start)
        emit(found, as_json, lambda: _started(found) if found.url else _waits(found.pid))
        return
    from argosy.console.app import pages
    from argosy.platform.up import up as run

    asyncio.run(run(place, settings(), report=click.echo, standby=standby, pages=pages, in_cluster=in_cluster))


def _started(found: "RunFile") -> None:
    from argosy.client.control import ControlClient

    status = ControlClient(home()).get("/v1/status")
    click.echo(f"the platform runs in the background, process {found.pid}\ngateway  {status['gateway']}")
    if found.fingerprint:
        click.echo(f"control  {found.url}, for other machines with the certificate {found.certificate}")
        click.echo(f"         SHA-256 {found.fingerprint}")
    click.echo("deploy with  argosy deploy NAME:VERSION;  look at it with  argosy console;  stop it with  argosy down")


def _waits(pid: int) -> None:
    click.echo(f"a standby waits in the background, process {pid}: it takes over when the platform that leads ends")
    click.echo("argosy down  ends both")


@click.command(cls=Command)
@json_option
def down(as_json: bool) -> None:
    """Stop the platform and everything it runs. Models, endpoints and keys are kept for the next `argosy up`.

    Requests in flight are answered first. What a crash left running is stopped too, and a standby that waits on this
    home. Machines of providers stay launched: it says how many, and what they cost. JSON: {stopped}.

    \b
    Example:
      argosy down
    """
    from argosy.platform.down import down as run

    with progress("Stopping the platform") as report:
        stopped = asyncio.run(run(home(), settings(), report=report))
    emit({"stopped": stopped}, as_json, lambda: click.echo("stopped" if stopped else "nothing was running"))
    if settings().supply.providers or settings().supply.sky:
        from argosy.store import open_store
        from argosy.store.launches import Launches

        with contextlib.closing(open_store(home(), settings())) as store:
            live = Launches(store.database).live()
        hourly = sum(each.price or each.offer.price for each in live)
        if live:
            count = f"{len(live)} machine{'s stay' if len(live) > 1 else ' stays'}"
            click.echo(f"{count} launched at {hourly:,.2f} $/h: argosy up;  argosy supply ls", err=True)


@click.command(cls=Command)
@click.option("--name", default="", help="Its name among all gateways.  [default: the name of this machine]")
def gateway(name: str) -> None:
    """Run a gateway that follows the platform which ARGOSY_CONTROL_URL names.

    It routes as that platform says, reports what it counts, and goes on while the platform is away. Its port and bounds
    are the settings `gateway` of ARGOSY_HOME. The platform must have gateway.place set to `remote` or `both`; its file
    HOME/gateway.token is the token. Ctrl-C ends it once what is in flight is answered.

    \b
    Example:
      export ARGOSY_CONTROL_URL=https://control.example:7070 ARGOSY_CONTROL_TOKEN=... ARGOSY_CONTROL_CA=control.pem
      ARGOSY_HOME=/var/lib/argosy-gateway argosy gateway --name edge-1
    """
    import socket

    from argosy.platform.follower import follow

    asyncio.run(follow(home(), settings(), name or socket.gethostname(), report=click.echo))


@click.command(cls=Command)
@click.option("--print", "only_print", is_flag=True, help="Print the URL; open no browser.")
@json_option
def console(only_print: bool, as_json: bool) -> None:
    """Open the console of the running platform in the browser, signed in.

    The URL works once and for a minute. Where there is no browser, it is printed alone. JSON: {url}.

    \b
    Example:
      argosy console
      argosy console --print
    """
    api = control()
    url = api.url + api.post("/console/tickets")["path"]
    emit({"url": url}, as_json, lambda: click.echo(url))
    screen = sys.platform == "darwin" or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
    if not only_print and not as_json and screen and sys.stdout.isatty():
        webbrowser.open(url)
