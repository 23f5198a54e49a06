"""`argosy tune`."""

from typing import TYPE_CHECKING

import click

from argosy.cli.base import Command, json_option
from argosy.cli.completion import sources
from argosy.cli.output import Columns, emit, progress, table
from argosy.spec.errors import InvalidArgument

if TYPE_CHECKING:
    from argosy.client.language import Measured

COLUMNS: Columns = {
    "THREADS": "threads",
    "AT ONCE": "slots",
    "BATCH": "batch_tokens",
    "FIRST TOKEN": ("ttft", lambda seconds: f"{seconds * 1000:.0f} ms"),
    "EACH TOKEN": ("each", lambda seconds: f"{seconds * 1000:.1f} ms"),
    "TOKENS/S": ("rate", lambda rate: f"{rate:.1f}"),
}


class Numbers(click.ParamType[tuple[int, ...]]):
    """Whole numbers with commas between."""

    name = "numbers"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """In order. Raises BadParameter."""
        try:
            found = tuple(sorted({int(part) for part in str(value).split(",")}))
        except ValueError:
            found = ()
        if not found or found[0] < 1:
            self.fail(f"'{value}' is no list of numbers from 1 on, as 1,2,4", param, ctx)
        return found


@click.command(cls=Command)
@click.argument("source", metavar="FILE_OR_REF", shell_complete=sources)
@click.option("--ttft", type=click.FloatRange(0), default=1.0, show_default=True, help="Seconds to the first token.")
@click.option("--per-token", type=click.FloatRange(0), default=0.1, show_default=True, help="Seconds for each further.")
@click.option("--threads", type=Numbers(), help="Numbers to try.  [default: powers of two up to the cores]")
@click.option("--slots", type=Numbers(), default="1,2,4", show_default=True, help="Requests at once to try.")
@click.option("--batch-tokens", type=Numbers(), default="2048", show_default=True, help="Tokens of a step to try.")
@click.option("--prompt-tokens", type=click.IntRange(10), default=256, show_default=True, help="Of each prompt, about.")
@click.option("--output-tokens", type=click.IntRange(2), default=32, show_default=True, help="Of each answer.")
@json_option
def tune(
    source: str,
    ttft: float,
    per_token: float,
    threads: tuple[int, ...] | None,
    slots: tuple[int, ...],
    batch_tokens: tuple[int, ...],
    prompt_tokens: int,
    output_tokens: int,
    as_json: bool,
) -> None:
    """Measure a language model on this machine, and name the settings that generate most within a latency goal.

    The engine is started for each number of threads and of tokens in a step, and asked so many things at once.

    \b
    Example:
      argosy tune gemma:1
      argosy tune gemma:1 --ttft 0.5 --per-token 0.03 --slots 1,2,4,8
    """
    from argosy.client.language import best, language_source, measure
    from argosy.process.cores import cores

    found = language_source(source)
    if found is None:
        raise InvalidArgument(f"{source} is no language model")
    tried = threads or tuple(1 << power for power in range(cores().bit_length()))
    points: list[Measured] = []
    with progress(f"Measuring {found.name}") as report:
        for one in measure(found, tried, slots, batch_tokens, prompt=prompt_tokens, answer=output_tokens):
            points.append(one)
            report(f"{one.threads} threads, {one.slots} at once: {one.rate:.1f} tokens/s")
    chosen = best(points, ttft, per_token)
    emit(points, as_json, lambda: _show(points, chosen, f"{ttft:g} s and {per_token:g} s"))


def _show(points: "list[Measured]", chosen: "Measured | None", goal: str) -> None:
    """The curve, and what to declare."""
    table(COLUMNS, points)
    if chosen is None:
        click.echo(f"\nnone is within {goal}: allow more, or take a smaller model or another quantization")
        return
    click.echo(f"\nmost tokens within {goal}; declare\n")
    click.echo(f"runtime:\n  threads: {chosen.threads}")
    click.echo(f"language:\n  slots: {chosen.slots}\n  batch_tokens: {chosen.batch_tokens}")
