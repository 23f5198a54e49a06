"""How far a job is: rows, rate, time left, cost so far. Counting is apart from drawing."""

import sys
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import msgspec

EVERY = 10.0
"""Seconds between two lines where there is no terminal."""


class View(msgspec.Struct, frozen=True, kw_only=True):
    """A moment of a job. `share` of the work is done, 0 to 1; `rate` in rows a second; `left` in seconds, None while it
    is not known; `cost` in the unit of the price, None without one."""

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


Show = Callable[[View], None]
"""Shows how a job stands; may be called often."""
Display = AbstractContextManager[Show]
"""Shows views while `with` lasts."""


def clock(seconds: float) -> str:
    """1:02:03, or 2:03."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


class Meter:
    """Adds up what workers report of fragments.

    `earlier` rows were done before this run, `total` are all of the job (None: not known before it is read); `todo`
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
        first = self._under_way.pop(fragment, (0, 0))[0]
        self._finished += 1
        self._safe += rows - first
        self._earlier += first

    def view(self, workers: int) -> View:
        """How it stands. Where rows are not counted beforehand, `share` and `left` are those of fragments."""
        seconds = time.monotonic() - self.begun
        answered = self._safe + sum(rows - first for first, rows in self._under_way.values())
        rows = self._earlier + answered + sum(first for first, _ in self._under_way.values())
        rate = answered / seconds if seconds else 0.0
        left: float | None = None
        if self._total is not None:
            share = min(1.0, rows / self._total) if self._total else 1.0
            left = (self._total - rows) / rate if rate else None
        else:
            todo = self._todo - self._finished
            share = (self._fragments - todo) / self._fragments if self._fragments else 1.0
            left = seconds / self._finished * todo if self._finished else None
        return View(
            rows=rows,
            total=self._total,
            share=share,
            rate=rate,
            left=left,
            cost=self._price * seconds / 3600 if self._price else None,
            workers=workers,
            seconds=seconds,
        )


def silent() -> Display:
    """Shows nothing."""
    return nullcontext(lambda _view: None)


@contextmanager
def throttled(act: Show, every: float, first: float = 0.0) -> Generator[Show]:
    """Act on a view every so many seconds, not before `first`; and on the last one at the end."""
    due, last = time.monotonic() + first, list[View]()

    def show(view: View) -> None:
        nonlocal due
        last[:] = [view]
        if time.monotonic() >= due:
            act(view)
            due = time.monotonic() + every

    try:
        yield show
    finally:
        for view in last:
            act(view)


def lines(write: Callable[[str], None], every: float = EVERY) -> Display:
    """A line every few seconds, for logs."""
    return throttled(lambda view: write(view.line()), every, every)


@contextmanager
def bar() -> Generator[Show]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True)
    with Progress(
        BarColumn(bar_width=None), TextColumn("{task.description}"), console=console, transient=True
    ) as drawn:
        task = drawn.add_task("starting", total=1.0)
        yield lambda view: drawn.update(task, completed=view.share, description=view.line())


def display() -> Display:
    """A bar on a terminal, lines elsewhere; both on standard error."""
    return bar() if sys.stderr.isatty() else lines(say)


def say(line: str) -> None:
    """A line on standard error."""
    print(line, file=sys.stderr, flush=True)
