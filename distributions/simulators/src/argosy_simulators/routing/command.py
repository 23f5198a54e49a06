"""`argosy simulate routing`."""

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from argosy.cli.base import Command, json_option
from argosy.cli.output import emit, table
from argosy.spec.errors import InvalidArgument

if TYPE_CHECKING:
    from argosy_simulators.routing.play import Curve, Point

NAMES = ("round-robin", "least-request", "bounded-hash", "cache-aware", "loadaware", "argosy")
SHAPES = ("code", "b2b", "reasoning", "chat")


@click.command(cls=Command)
@click.option("--load", default=",".join(SHAPES), show_default=True, help="Loads to play, by comma.")
@click.option("--router", default=",".join(NAMES), show_default=True, help="Routers to compare, by comma.")
@click.option("--seeds", type=click.IntRange(1, 100), default=1, show_default=True, help="Runs of each, all counted.")
@click.option("--mixed", is_flag=True, help="Two kinds of GPU: every second engine is 2.5 times slower.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Write a picture (SVG) here.")
@json_option
def routing(load: str, router: str, seeds: int, mixed: bool, plot: Path | None, as_json: bool) -> None:
    """Play loads of language models under routers: how much each takes, and how long a first token takes.

    Engines are modelled: a cache of blocks with LRU, chunked prefill, decoding that slows with the batch. `code`, `b2b`
    and `reasoning` are the shapes that llm-d published in August 2026; `chat` is of conversations of 8 turns. The knee
    is the last level before p90 of the time to first token (TTFT) is 2 s over that of an idle engine without a cache.
    JSON: [{load, bound, router, knees, points: [...]}].

    \b
    Example:
      argosy simulate routing --load b2b,code --seeds 3 --plot routing.svg
    """
    from argosy_simulators.routing.loads import LOADS
    from argosy_simulators.routing.picture import svg
    from argosy_simulators.routing.play import curve

    loads, routers = _known("load", load, SHAPES), _known("router", router, NAMES)
    found = [curve(LOADS[name], each, range(1, seeds + 1), mixed=mixed) for name in loads for each in routers]
    if plot:
        plot.write_text(svg(found), encoding="utf-8")
    emit([_summary(each) for each in found], as_json, lambda: _render(found, plot))


def _known(what: str, names: str, there: tuple[str, ...]) -> list[str]:
    chosen = names.split(",")
    if strange := [name for name in chosen if name not in there]:
        raise InvalidArgument(f"there is no {what} '{strange[0]}'; choose from {', '.join(there)}")
    return chosen


def _summary(one: "Curve") -> dict[str, Any]:
    return {"load": one.load, "bound": one.bound, "router": one.router, "knees": one.knees, "points": one.points}


def _render(found: list["Curve"], plot: Path | None) -> None:
    for name, group in groupby(found, key=lambda each: each.load):
        curves = list(group)
        knees = [knee.level for each in curves if (knee := each.knee())]
        levels = sorted({min(knees), max(knees)}) if knees else []
        click.echo(f"{name}: TTFT p90 at most {curves[0].bound:.1f} s" + (", levels beside it below" if levels else ""))
        heads = [f"at {level:g}: TTFT p50, p90, hits" for level in levels]
        first = curves[0].knees
        table(("router", "knee", "tokens/s in", "x first", *heads), [_row(each, first, levels) for each in curves])
        click.echo("")
    if plot:
        click.echo(f"wrote {plot}")


def _row(one: "Curve", first: list[float], levels: list[float]) -> tuple[str, ...]:
    knee, mean = one.knee(), sum(one.knees) / len(one.knees)
    spread = f" ±{(max(one.knees) - min(one.knees)) / 2:,.0f}" if len(one.knees) > 1 else ""
    ratio = f"{mean * len(first) / sum(first):.2f}" if sum(first) else "-"
    at = {point.level: _figures(point) for point in one.points}
    level = f"{knee.level:g}" if knee else "-"
    return (one.router, level, f"{mean:,.0f}{spread}", ratio, *(at[level] for level in levels))


def _figures(point: "Point") -> str:
    return f"{point.ttft_p50:.2f} s, {point.ttft_p90:.2f} s, {point.hits:.0%}"
