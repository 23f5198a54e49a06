"""`argosy optimize`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from argosy.cli.base import Command, json_option
from argosy.cli.completion import references
from argosy.cli.here import store
from argosy.cli.output import emit, progress, table
from argosy.cli.show import TRIES

if TYPE_CHECKING:
    from argosy.spec.package import Optimization
    from argosy.store.version import Version

FILE = click.Path(path_type=Path)
NONE_WON = 7
"""Exit status where no recipe passed: that of answers that differ."""
SHARE = click.FloatRange(0, 1)


@click.command(cls=Command)
@click.argument("ref", metavar="NAME:VERSION", shell_complete=references)
@click.option("--target", type=click.Choice(["cpu"]), default="cpu", show_default=True, help="What it is to run on.")
@click.option(
    "--rows", type=FILE, required=True, help="Real rows: a file as for --sample of a push, or a folder of them."
)
@click.option("--test-rows", "test", type=FILE, help="Rows to judge by.  [default: three of four of --rows]")
@click.option("--min-agreement", type=SHARE, default=0.99, show_default=True, help="With the answers of NAME:VERSION.")
@click.option("--min-speedup", type=click.FloatRange(0), default=1.2, show_default=True, help="At one row, one thread.")
@click.option("--worst-class", type=SHARE, default=0.8, show_default=True, help="Least agreement on any class.")
@click.option("--minutes", type=click.FloatRange(0), default=5, show_default=True, help="After which none is begun.")
@click.option("--recipe", "recipes", multiple=True, help="Try only this one; may be repeated.  [default: all]")
@click.option(
    "--freeze-scales", "scales", default="", metavar="REF", shell_complete=references, help="Take the scales of that."
)
@click.option("--dry-run", "dry", is_flag=True, help="Register nothing.")
@json_option
def optimize(ref: str, as_json: bool, **given: Any) -> None:
    """Make an ONNX model smaller and faster, and register it as the next version if it answers as NAME:VERSION does.

    Recipes are tried in order: optimization of the graph, int8 in four ways, dynamic int8, float16. Each is judged by
    rows it was not calibrated on, and measured on this machine in turns with the original. The fastest that passes is
    registered; its lineage names the original and all tries. With --freeze-scales a model that was trained again takes
    graph and scales of an optimized version, so that an update changes few bytes. Exit status 7: none passed.

    JSON: {ref, parent, recipe, tries: [{recipe, agreement, interval, worst, worst_class, parent_ms, ms, speedup, size,
    rejected}], …}.

    \b
    Example:
      argosy optimize magika:1 --rows files.npz
      argosy optimize magika:3 --rows files.npz --freeze-scales magika:2
    """
    from argosy.packaging.optimize.gate import Gate
    from argosy.packaging.optimize.optimize import OptimizeOptions
    from argosy.packaging.optimize.optimize import optimize as run

    gate = Gate(**{bound: given.pop(bound) for bound in ("min_agreement", "min_speedup", "worst_class")})
    options = OptimizeOptions(gate=gate, **given)
    with store() as place, progress(f"Optimizing {ref}") as report:
        found, version = run(place, ref, options, report)
    import msgspec

    body = {"ref": version.ref if version else "", **msgspec.structs.asdict(found)}
    emit(body, as_json, lambda: _show(found, version))
    if not found.recipe:
        click.get_current_context().exit(NONE_WON)


def _show(found: "Optimization", version: "Version | None") -> None:
    click.echo(
        f"{found.parent_ref} on {found.processor}, one thread, one row; "
        f"{found.calibration_rows} rows to calibrate on, {found.test_rows} others to judge by"
    )
    table(TRIES, found.tries)
    if version is not None:
        click.echo(f"{click.style(version.ref, bold=True)}  {version.digest}: {found.recipe}")
        click.echo(f"deploy it with  argosy deploy {version.ref}")
    elif found.recipe:
        click.echo(f"{found.recipe} would be registered")
    else:
        click.echo("no recipe passed, so nothing was registered")
