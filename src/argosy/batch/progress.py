"""How far a job is: rows, rate, time left, cost so far. Counting is apart from drawing."""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol

import msgspec

EVERY = 10.0
"""Seconds between two lines where there is no terminal."""


class View(msgspec.Struct, frozen=True, kw_only=True):
    """A moment of a job. `share` of the work is done, 0 to 1; `rate` in rows a second; `left` in seconds, None while it
    cannot be told; `cost` in the unit of the price, None without one."""

    rows: int
    total: int | None
    share: float
    rate: float
    left: float | None
    cost: float | None
    workers: int
    seconds: float

    def line(self) -> str:
        """In words, for a log."""
        of = f" of {self.total:,}" if self.total is not None else ""
        parts = [f"{self.rows:,}{of} rows ({self.share:.0%})", f"{self.rate:,.0f} rows/s"]
        if self.left is not None:
            parts.append(f"{clock(self.left)} left")
        if self.cost is not None:
            parts.append(f"cost so far {self.cost:.4f}")
        return ", ".join(parts)


def clock(seconds: float) -> str:
    """1:02:03, or 2:03."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


class Meter:
    """Adds up what is told of fragments.

    `earlier` rows were done before this run, `total` are all of the job, None where only reading tells; `todo`
    fragments are left for this run, of `fragments` in all. `price` is per hour.
    """

    def __init__(self, *, earlier: int, total: int | None, todo: int, fragments: int, price: float) -> None:
        self.begun = time.monotonic()
        self._earlier, self._total, self._price = earlier, total, price
        self._todo, self._fragments = todo, fragments
        self._finished = 0
        self._safe = 0
        self._under_way: dict[int, tuple[int, int]] = {}

    def reached(self, fragment: int, rows: int) -> None:
        """So many rows of a fragment are answered; the first time it is said, they are those of an earlier attempt."""
        first = self._under_way.get(fragment, (rows, rows))[0]
        self._under_way[fragment] = (first, rows)

    def done(self, fragment: int, rows: int) -> None:
        """A fragment is done."""
        first = self._under_way.pop(fragment, (0, 0))[0]
        self._finished += 1
        self._safe += rows - first
        self._earlier += first

    def view(self, workers: int) -> View:
        """How it stands."""
        seconds = time.monotonic() - self.begun
        answered = self._safe + sum(rows - first for first, rows in self._under_way.values())
        rows = self._earlier + answered + sum(first for first, _ in self._under_way.values())
        share = self._share(rows)
        rate = answered / seconds if seconds else 0.0
        return View(
            rows=rows,
            total=self._total,
            share=share,
            rate=rate,
            left=self._left(rows, rate, seconds),
            cost=self._price * seconds / 3600 if self._price else None,
            workers=workers,
            seconds=seconds,
        )

    def _share(self, rows: int) -> float:
        if self._total is not None:
            return min(1.0, rows / self._total) if self._total else 1.0
        return (self._fragments - self._todo + self._finished) / self._fragments if self._fragments else 1.0

    def _left(self, rows: int, rate: float, seconds: float) -> float | None:
        if self._total is not None:
            return (self._total - rows) / rate if rate else None
        return seconds / self._finished * (self._todo - self._finished) if self._finished else None


class Display(Protocol):
    """Shows views while `with` lasts."""

    def __enter__(self) -> "Display": ...

    def show(self, view: View) -> None:
        """Show how it stands; may be called often."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Silent:
    """Shows nothing."""

    def __enter__(self) -> "Silent":
        return self

    def show(self, view: View) -> None:
        """Nothing."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return


class Lines(Silent):
    """A line every few seconds, for logs; the last view is always among them."""

    def __init__(self, write: Callable[[str], None], every: float = EVERY) -> None:
        self._write, self._every = write, every
        self._due = time.monotonic() + every
        self._last: View | None = None

    def show(self, view: View) -> None:
        """Write, if it is time."""
        self._last = view
        if time.monotonic() >= self._due:
            self._write(view.line())
            self._due = time.monotonic() + self._every

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._last is not None:
            self._write(self._last.line())


class Bar(Silent):
    """A bar on a terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._bar: Any = Progress(
            BarColumn(bar_width=None), TextColumn("{task.description}"), console=Console(stderr=True), transient=True
        )
        self._task = self._bar.add_task("starting", total=1.0)

    def __enter__(self) -> "Bar":
        self._bar.start()
        return self

    def show(self, view: View) -> None:
        """Draw."""
        self._bar.update(self._task, completed=view.share, description=view.line())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()


def display() -> Display:
    """A bar on a terminal, lines elsewhere; both on standard error."""
    return Bar() if sys.stderr.isatty() else Lines(say)


def say(line: str) -> None:
    """A line on standard error."""
    print(line, file=sys.stderr, flush=True)
