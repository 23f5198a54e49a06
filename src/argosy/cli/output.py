"""How commands print: JSON or tables on standard output, progress on standard error."""

import contextlib
import sys
from collections.abc import Callable, Generator, Sequence
from typing import Any

import click

Report = Callable[[str], None]
DRAWN_ROWS = 500


def emit(value: Any, as_json: bool, render: Callable[[], None]) -> None:
    """Print `value` as indented JSON, or call `render`, which prints it for people."""
    if not as_json:
        render()
        return
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], empty: str = "nothing here") -> None:
    """Rows under headings: drawn on a terminal, plain aligned columns in a pipe; `empty` when there are none."""
    if not rows:
        click.echo(empty)
        return
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if sys.stdout.isatty() and len(cells) <= DRAWN_ROWS:
        _drawn(columns, cells)
    else:
        _plain(columns, cells)


def _drawn(columns: Sequence[str], cells: list[list[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in cells:
        drawn.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    Console().print(drawn)


STYLES = {"ok": "green", "ready": "green", "warn": "yellow", "starting": "yellow", "fail": "red", "failed": "red"}
"""Words that are coloured wherever they fill a cell."""


def _plain(columns: Sequence[str], cells: list[list[str]]) -> None:
    widths = [max(len(row[at]) for row in [list(columns), *cells]) for at in range(len(columns))]
    for row in [[column.upper() for column in columns], *cells]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def pairs(rows: Sequence[tuple[str, object]]) -> None:
    """Name and value, one line each; a value of several lines is indented under its name; empty ones are left out."""
    shown = [(name, str(value)) for name, value in rows if value not in (None, "", (), [])]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        first, *rest = value.splitlines()
        click.echo(f"{click.style(name.ljust(width), bold=True)}  {first}")
        for line in rest:
            click.echo(f"{'':{width}}  {line}")


@contextlib.contextmanager
def progress(title: str) -> Generator[Report]:
    """Show what happens: a spinner with the latest step on a terminal, one line per step otherwise."""
    if not sys.stderr.isatty():
        yield lambda step: click.echo(step, err=True)
        return
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status(title) as status:
        yield lambda step: status.update(escape(step))


def size(count: float) -> str:
    """Bytes for people: 1.5 MiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return ""
