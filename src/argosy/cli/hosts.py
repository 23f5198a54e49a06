"""`argosy hosts`: machines of strangers."""

import sys
from urllib.parse import quote

import click
import msgspec

from argosy.cli.base import Command, Group, json_option
from argosy.cli.here import actor, control
from argosy.cli.output import Columns, emit, table
from argosy.console.words import clock
from argosy.spec.errors import InvalidArgument
from argosy.spec.foreign import printable

EVICTED: Columns = {
    "host": "host",
    "since (UTC)": ("since", clock),
    "why": lambda row: printable(row["reason"]),
}


@click.group(cls=Group)
def hosts() -> None:
    """Machines of strangers: what they can do, and whether they answer as they should.

    \b
    Example:
      argosy hosts check --on 'ssh worker' --claim compute=2e11 --claim memory=64e9
      argosy hosts ls
    """


@hosts.command(cls=Command)
@json_option
def ls(as_json: bool) -> None:
    """List hosts that are evicted: they get no more replicas, and their machines are given back.

    Hosts are evicted, with `supply.evict` in config.yaml, where a replica answers canaries wrongly. JSON: a
    list of {host, names, since, reason}.

    \b
    Example:
      argosy hosts ls
    """
    found = control().get("/v1/hosts")
    emit(found, as_json, lambda: table(EVICTED, found, "no host is evicted"))


@hosts.command(cls=Command)
@click.argument("host")
def allow(host: str) -> None:
    """Use HOST again, which was evicted.

    \b
    Example:
      argosy hosts allow 10.0.0.7
    """
    control().delete(f"/v1/hosts/{quote(host, safe='')}", actor=actor())


@hosts.command(cls=Command)
@click.option("--on", metavar="COMMAND", default="", help="Runs a command there, as in 'ssh worker'; else here.")
@click.option("--claim", "claims", metavar="NAME=NUMBER", multiple=True, help="What it has to show.")
@click.option("--seconds", type=float, default=60.0, show_default=True, help="For all of it.")
@click.option("--memory", type=float, default=4e9, show_default=True, help="Bytes to fill, at most.")
@json_option
def check(on: str, claims: tuple[str, ...], seconds: float, memory: float, as_json: bool) -> None:
    """Have a machine show what it can do, within a minute.

    Timed challenges whose answers are checked: products of matrices, memory that is filled and read at places it could
    not foresee, the disk, the network. Needs Python with numpy there, for a GPU PyTorch. NAME is compute, gpu_compute
    (multiply-adds a second), memory, gpu_memory (bytes), disk, network (bytes a second) or rtt (seconds). Ends with 1
    where the machine is less than it claims. JSON: {measured, refused, seconds}.

    \b
    Example:
      argosy hosts check --claim memory=2e9
    """
    from argosy.cli.here import place
    from argosy.supply.benchmark import Effort, program, show
    from argosy.supply.hosts import Figures

    try:
        claimed = msgspec.convert(dict(one.split("=", 1) for one in claims), Figures, strict=False)
    except ValueError as error:
        raise InvalidArgument(f"--claim {' '.join(claims)}: {error}; give NAME=NUMBER, as in memory=2e9") from None
    if not (0 < seconds < 3600 and 0 <= memory < 1e13):
        raise InvalidArgument("--seconds is up to an hour, --memory a number of bytes")
    found = show(program(place().root, on), claimed, Effort(seconds=seconds, memory=memory))
    rows = [(name, f"{figure:.3g}") for name, figure in msgspec.structs.asdict(found.measured).items() if figure]

    def render() -> None:
        table(("figure", "measured"), rows)
        for line in [f"refused: {reason}" for reason in found.refused] or ["admitted: it is what it claims"]:
            click.echo(line)

    emit(msgspec.to_builtins(found), as_json, render)
    if found.refused:
        sys.exit(1)
