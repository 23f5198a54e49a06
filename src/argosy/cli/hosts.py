"""`argosy hosts`: machines of strangers."""

import sys

import click
import msgspec

from argosy.cli.base import Command, Group, json_option
from argosy.cli.output import emit, table
from argosy.spec.errors import InvalidArgument

WORK, BYTES, RATE = (1e9, "G multiply-adds/s"), (1e9, "GB"), (1e6, "MB/s")
UNITS = {
    "compute": WORK,
    "memory": BYTES,
    "disk": RATE,
    "network": RATE,
    "rtt": (1e-3, "ms"),
    "gpu_compute": WORK,
    "gpu_memory": BYTES,
}


@click.group(cls=Group)
def hosts() -> None:
    """Machines of strangers: what they can do, and whether they answer as they should.

    \b
    Example:
      argosy hosts check --on 'ssh worker' --claim compute=2e11 --claim memory=64e9
    """


@hosts.command(cls=Command)
@click.option("--on", metavar="COMMAND", default="", help="Runs a command there, as in 'ssh worker'; else here.")
@click.option("--claim", "claims", metavar="NAME=NUMBER", multiple=True, help="What it has to show.")
@click.option("--seconds", type=click.FloatRange(5, 600), default=60.0, show_default=True, help="For all of it.")
@click.option("--memory", type=click.FloatRange(0, 1e13), default=4e9, show_default=True, help="Bytes at most.")
@json_option
def check(on: str, claims: tuple[str, ...], seconds: float, memory: float, as_json: bool) -> None:
    """Have a machine show what it can do, within a minute.

    Timed challenges whose answers are checked: products of matrices, memory that is filled and read at places it could
    not foresee, the disk, the network. Needs Python with numpy there. NAME is compute, memory, disk, network, rtt,
    gpu_compute or gpu_memory. Ends with 1 where the machine is less than it claims. JSON: {measured, admission:
    {reasons}, seconds}.

    \b
    Example:
      argosy hosts check --claim memory=2e9
    """
    from argosy.cli.here import place
    from argosy.supply.benchmark import Effort, program, show
    from argosy.supply.hosts import Figures

    claimed = msgspec.convert(_claims(claims), Figures)
    found = show(program(place().root, on), claimed, Effort(seconds=seconds, memory=memory))
    figures = msgspec.structs.asdict(found.measured)
    rows = [(name, f"{figures[name] / unit:,.2f} {word}") for name, (unit, word) in UNITS.items() if figures[name]]

    def render() -> None:
        table(("", f"in {found.seconds:.0f} s"), rows)
        for reason in found.admission.reasons:
            click.echo(f"refused: {reason}")
        if found.admission.admitted:
            click.echo("admitted: it is what it claims")

    emit(msgspec.to_builtins(found), as_json, render)
    if not found.admission.admitted:
        sys.exit(1)


def _claims(given: tuple[str, ...]) -> dict[str, float]:
    found: dict[str, float] = {}
    for one in given:
        name, _, number = one.partition("=")
        if name not in UNITS:
            raise InvalidArgument(f"--claim {one}: there is no '{name}'; choose from {', '.join(UNITS)}")
        try:
            found[name] = float(number)
        except ValueError:
            raise InvalidArgument(f"--claim {one}: '{number}' is no number, as in {name}=2e9") from None
    return found
