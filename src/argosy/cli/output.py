"""How commands print: JSON or tables on standard output, progress on standard error."""

import contextlib
import sys
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any, cast

import click

Report = Callable[[str], None]
Column = str | tuple[str, Callable[[Any], object]] | Callable[[Any], object]
Columns = Mapping[str, Column]
"""Heading → how a row fills its cell: the name of a field, that with a function of its value, or a function of the
row. A row is a struct, or the dict of one."""

DRAWN_ROWS = 500
FOLDED = 12
"""Characters that a column keeps, however narrow the terminal."""
STYLES = {"ok": "green", "ready": "green", "warn": "yellow", "starting": "yellow", "fail": "red", "failed": "red"}
"""Words that are coloured wherever they fill a cell."""


def emit(value: Any, as_json: bool, render: Callable[[], None]) -> None:
    """Print `value` as indented JSON, or call `render`, which prints it for people."""
    if not as_json:
        render()
        return
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


def table(columns: Columns | Sequence[str], rows: Iterable[Any], empty: str = "nothing here") -> None:
    """Rows under headings: drawn on a terminal, plain aligned columns in a pipe; `empty` when there are none. Without
    `Columns` each row is a sequence of its cells."""
    if isinstance(columns, Mapping):
        rows = ([_value(row, column) for column in columns.values()] for row in rows)
    cells = [[_text(value) for value in row] for row in rows]
    if not cells:
        click.echo(empty)
    elif sys.stdout.isatty() and len(cells) <= DRAWN_ROWS:
        _draw(list(columns), cells)
    else:
        lines = [[heading.upper() for heading in columns], *cells]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _value(row: Any, column: Column) -> object:
    if callable(column):
        return column(row)
    name, show = (column, None) if isinstance(column, str) else column
    value = cast("dict[str, Any]", row)[name] if isinstance(row, dict) else getattr(row, name)
    return show(value) if show else value


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, cast("Sequence[object]", value)))
    return "" if value is None else str(value)


def _draw(headings: Sequence[str], cells: list[list[str]]) -> None:
    """A table as wide as the terminal. URLs are never cut: a column of them that has no room follows the table."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    columns = list(zip(*cells, strict=True))
    urls = [max((len(cell) for cell in column if "://" in cell), default=0) for column in columns]
    least = [url or min(max(map(len, column)), FOLDED) for url, column in zip(urls, columns, strict=True)]
    drawn, console = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold"), Console()
    inside = list(range(len(headings)))
    while sum(least[place] + 3 for place in inside) > console.width and any(urls[place] for place in inside):
        inside.remove(max(inside, key=urls.__getitem__))
    for place in inside:
        drawn.add_column(headings[place], overflow="fold", min_width=least[place])
    for row in cells:
        drawn.add_row(*(Text(row[place], style=STYLES.get(row[place], "")) for place in inside))
    console.print(drawn)
    for row in cells:
        if outside := [cell for place, cell in enumerate(row) if cell and place not in inside]:
            click.echo("  ".join([row[0], *outside]))


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
