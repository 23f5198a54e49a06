"""Charts as SVG, drawn on the server: no script, no inline style; colours are classes of the style sheet.

Whatever text goes into one is escaped here. Each has a label that is read out instead of it.
"""

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

from markupsafe import Markup, escape

from argosy.console.words import clock
from argosy.telemetry.rates import RETAINED

STEPS = (60, 300, 900, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86400, 2 * 86400, 7 * 86400)


def ticks(low: float, high: float, count: int = 3) -> list[float]:
    """Round numbers from `low` to at least `high`."""
    span = high - low
    if not math.isfinite(span) or span < 1e-300:
        return [low]
    raw = span / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * each for each in (1, 2, 2.5, 5, 10) if power * each >= raw * 0.999)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [each * step for each in range(first, last + 1)]


def moments(start: float, end: float, count: int = 6) -> list[tuple[float, str]]:
    """Round times (UTC) between two, with their labels."""
    span = end - start
    step = next((each for each in STEPS if span / each <= count), STEPS[-1])
    first = math.ceil(start / step) * step
    form = "%H:%M" if step < 86400 else "%d %b"
    return [
        (at, datetime.fromtimestamp(at, UTC).strftime("%d %b" if form == "%H:%M" and at % 86400 == 0 else form))
        for at in range(int(first), int(end) + 1, int(step))
    ]


Values = Sequence[float | None]
Place = tuple[float, float]
Numbers = TypeVar("Numbers", bound=tuple[float, ...])

WIDTH, HEIGHT = 480, 150
LEFT, RIGHT, TOP, BOTTOM = 60, 6, 8, 22
HOVERS = 120
"""At most so many places of a chart show their values to a pointer that rests there."""


def field(things: Iterable[Any], name: str) -> list[float | None]:
    """One field of many things."""
    return [getattr(each, name) for each in things]


class ChartLine(NamedTuple):
    """A line of a chart: its class in the style sheet, its name, its values."""

    kind: str
    name: str
    values: Values


class Band(NamedTuple):
    """A band around a line: from `low` to `high`."""

    kind: str
    low: Values
    high: Values


class Stack(NamedTuple):
    """A part of stacked bars: its class in the style sheet, its name, its values."""

    kind: str
    name: str
    values: Sequence[float]


class Bubble(NamedTuple):
    """A circle: its class in the style sheet, its name, its size beside the others, and what is written below."""

    kind: str
    name: str
    size: float
    lines: Sequence[str]


def spark(values: Values, label: str) -> Markup:
    """A line without axes, for the last quarter of an hour."""
    return _spark(tuple(values), label)


@functools.lru_cache(maxsize=1024)
def _spark(values: tuple[float | None, ...], label: str) -> Markup:
    width, height, points = 120, 24, 60
    each = max(1, RETAINED // points)
    means: list[float | None] = []
    for end in range(len(values), 0, -each):
        known = [value for value in values[max(0, end - each) : end] if value is not None]
        means.insert(0, sum(known) / len(known) if known else None)
    top = max((mean for mean in means if mean is not None), default=0.0) or 1.0
    gap = width / (points - 1)
    places = [
        None if mean is None else (width - (len(means) - 1 - at) * gap, height - 2 - (height - 4) * mean / top)
        for at, mean in enumerate(means)
    ]
    runs = _runs(places)
    areas = [_points([(run[0][0], height), *run, (run[-1][0], height)]) for run in runs]
    shapes = "".join(f'<polygon class="fill" points="{points}"/>' for points in areas)
    shapes += "".join(_stroke(run, "line") for run in runs)
    head = f'<svg class="spark" viewBox="0 0 {width} {height}" preserveAspectRatio="none"'
    return Markup(f'{head} role="img" aria-label="{escape(label)}">{shapes}</svg>')


def lines(
    times: Sequence[float],
    series: Sequence[ChartLine],
    label: str,
    show: Callable[[float], str],
    *,
    bands: Sequence[Band] = (),
    span: tuple[float, float] | None = None,
    from_zero: bool = True,
    least: float = 0.0,
) -> Markup:
    """Lines over time, with axes; `show` writes a value. Gaps in the values are gaps in the lines.

    `span` is from when to when; values reach to `least` at least, and down to 0 unless not `from_zero`.
    """
    known = [
        v for values in (*(s.values for s in series), *(e for b in bands for e in (b.low, b.high))) for v in values
    ]
    finite = [each for each in known if each is not None and math.isfinite(each)]
    low, high = (0.0 if from_zero else min(finite, default=0.0)), max([*finite, least])
    marks = ticks(low, high if high > low else low + 1)
    start, end = span or ((times[0], times[-1]) if times else (0.0, 1.0))
    end = end if end > start else start + 1

    def x(at: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (at - start) / (end - start)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - marks[0]) / (marks[-1] - marks[0] or 1)

    parts = [_grid(y(mark), show(mark) if mark else "0") for mark in marks]
    for at, text in moments(start, end):
        if LEFT + 24 < x(at) < WIDTH - 22:
            parts.append(f'<text class="tick mid" x="{x(at):.1f}" y="{HEIGHT - 4}">{escape(text)}</text>')
    for band in bands:
        parts += _band(band, times, x, y)
    for each in series:
        for run in _runs([None if v is None else (x(t), y(v)) for t, v in zip(times, each.values, strict=True)]):
            if len(run) > 1:
                parts.append(_stroke(run, f"line {each.kind}"))
            else:
                parts.append(
                    f'<circle class="dot {escape(each.kind)}" cx="{run[0][0]:.1f}" cy="{run[0][1]:.1f}" r="2"/>'
                )
    half = (WIDTH - LEFT - RIGHT) / max(len(times), 1) / 2
    for place, at in enumerate(times if len(times) <= HOVERS else ()):
        values = ", ".join(f"{s.name} {show(v)}" for s in series if (v := s.values[place]) is not None)
        if values:
            title = f"{clock(at)} UTC: {values}"
            parts.append(_box("hover", x(at) - half, TOP, 2 * half, HEIGHT - TOP - BOTTOM, title))
    return _svg("lines", WIDTH, HEIGHT, label, parts)


def stacked(start: float, each: float, series: Sequence[Stack], label: str, show: Callable[[float], str]) -> Markup:
    """Bars of `each` seconds from `start` on: the values of all series on top of each other, the first one lowest.
    Negative values are not drawn."""
    count = max((len(one.values) for one in series), default=0)
    sums = [sum(max(one.values[place], 0.0) for one in series) for place in range(count)]
    marks = ticks(0.0, max([*sums, 0.0]) or 1.0)
    wide, end = (WIDTH - LEFT - RIGHT) / max(count, 1), start + each * max(count, 1)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / marks[-1]

    parts = [_grid(y(mark), show(mark) if mark else "0") for mark in marks]
    for at, text in moments(start, end):
        x = LEFT + (WIDTH - LEFT - RIGHT) * (at - start) / (end - start)
        if LEFT + 24 < x < WIDTH - 22:
            parts.append(f'<text class="tick mid" x="{x:.1f}" y="{HEIGHT - 4}">{escape(text)}</text>')
    for place in range(count):
        x, under = LEFT + place * wide + 0.5, 0.0
        for one in series:
            if (value := one.values[place]) > 0:
                title = f"{clock(start + place * each)} UTC: {one.name} {show(value)} of {show(sums[place])}"
                height = y(under) - y(under + value)
                parts.append(_box(f"stack {escape(one.kind)}", x, y(under + value), max(wide - 1, 1), height, title))
                under += value
    return _svg("lines", WIDTH, HEIGHT, label, parts)


def _grid(y: float, text: str) -> str:
    line = f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
    return f'{line}<text class="tick end" x="{LEFT - 6}" y="{y + 3.5:.1f}">{escape(text)}</text>'


def _band(band: Band, times: Sequence[float], x: Callable[[float], float], y: Callable[[float], float]) -> list[str]:
    pairs = [
        None if low is None or high is None else (x(at), y(low), y(high))
        for at, low, high in zip(times, band.low, band.high, strict=True)
    ]
    shapes: list[str] = []
    for run in _runs(pairs):
        over, under = [(at, high) for at, _, high in run], [(at, low) for at, low, _ in reversed(run)]
        shapes.append(f'<polygon class="band {escape(band.kind)}" points="{_points([*over, *under])}"/>')
    return shapes


def interval(value: float, low: float, high: float, stable: float, label: str) -> Markup:
    """A candidate's value with its interval, against the stable one's, on a scale of their own."""
    width, height = 180, 18
    ends = [value, low, high, stable]
    first, last = min(ends), max(ends)
    margin = (last - first) * 0.06 or abs(last) * 0.06 or 1.0

    def x(at: float) -> float:
        return 4 + (width - 8) * (at - first + margin) / (last - first + 2 * margin)

    parts = [
        f'<line class="mark stable" x1="{x(stable):.1f}" x2="{x(stable):.1f}" y1="1" y2="{height - 1}"/>',
        f'<line class="whisker" x1="{x(low):.1f}" x2="{x(high):.1f}" y1="{height / 2}" y2="{height / 2}"/>',
        f'<circle class="dot candidate" cx="{x(value):.1f}" cy="{height / 2}" r="3.5"/>',
    ]
    return _svg("interval", width, height, label, parts)


def gauge(share: float, label: str, kind: str = "") -> Markup:
    """A bar that is full at 1."""
    part = min(1.0, max(0.0, share)) * 100
    parts = [
        '<rect class="rest" width="100" height="6"/>',
        f'<rect class="part {escape(kind)}" width="{part:.1f}" height="6"/>',
    ]
    return _svg("gauge", 100, 6, label, parts, stretch=True)


def overlay(reference: Sequence[float], current: Sequence[float], labels: Sequence[str], label: str) -> Markup:
    """Two distributions over the same bins: the reference as bars, the current one as an outline over them."""
    count = max(len(reference), 1)
    top = max([*reference, *current, 1e-12])
    wide = (WIDTH - LEFT - RIGHT) / count

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top

    parts: list[str] = []
    for place, (old, new) in enumerate(zip(reference, current, strict=True)):
        x, name = LEFT + place * wide, labels[place] if place < len(labels) else ""
        parts.append(_box("bar stable", x + 1, y(old), max(wide - 2, 1), y(0) - y(old)))
        title = f"{name}: reference {old:.2%}, current {new:.2%}"
        parts.append(_box("hover", x, TOP, wide, HEIGHT - TOP - BOTTOM, title))
        if place % max(1, math.ceil(count / 5)) == 0:
            parts.append(f'<text class="tick mid" x="{x + wide / 2:.1f}" y="{HEIGHT - 4}">{escape(name[:14])}</text>')
    steps = "".join(f"V{y(new):.1f}h{wide:.1f}" for new in current)
    parts.append(f'<path class="line candidate" d="M{LEFT},{y(0):.1f}{steps}V{y(0):.1f}"/>')
    parts += [_grid(y(0), "0 %"), _grid(y(top), f"{top:.0%}" if top >= 0.1 else f"{top:.1%}")]
    return _svg("lines", WIDTH, HEIGHT, label, parts)


def bubbles(found: Sequence[Bubble], label: str, wide: int = 5) -> Markup:
    """Circles in rows of `wide`, whose area is their size, with their texts below."""
    each, radius, most = 170, 42, max((one.size for one in found), default=0.0)
    high = 2 * radius + 16 + 15 * (1 + max((len(one.lines) for one in found), default=0))
    parts: list[str] = []
    for place, one in enumerate(found):
        x, y = each * (place % wide) + each / 2, high * (place // wide) + radius + 4
        r = max(5.0, radius * math.sqrt(max(one.size, 0.0) / most)) if most > 0 else radius / 2
        parts.append(f'<circle class="bubble {escape(one.kind)}" cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}"/>')
        for at, text in enumerate((one.name[:24], *one.lines)):
            kind = "tick" if at else "name"
            parts.append(
                f'<text class="{kind} mid" x="{x:.1f}" y="{y + radius + 16 + 15 * at:.1f}">{escape(text)}</text>'
            )
    return _svg("bubbles", each * min(wide, max(len(found), 1)), high * -(-len(found) // wide), label, parts)


def cells(found: Sequence[tuple[str, str]], label: str, wide: int = 40) -> Markup:
    """Squares in rows of `wide`, each with its class and the text that is shown of it."""
    parts = [
        _box(f"cell {escape(kind)}", 12 * (place % wide), 12 * (place // wide), 10, 10, title)
        for place, (kind, title) in enumerate(found)
    ]
    return _svg("cells", 12 * wide, 12 * max(1, -(-len(found) // wide)), label, parts)


def _box(kind: str, x: float, y: float, width: float, height: float, title: str = "") -> str:
    text = f"<title>{escape(title)}</title>" if title else ""
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}">{text}</rect>'


def _svg(kind: str, width: int, height: int, label: str, parts: Iterable[str], *, stretch: bool = False) -> Markup:
    ratio = ' preserveAspectRatio="none"' if stretch else ""
    head = f'<svg class="{kind}" viewBox="0 0 {width} {height}"{ratio} role="img" aria-label="{escape(label)}">'
    return Markup(head + "".join(parts) + "</svg>")


def _runs(places: Sequence[Numbers | None]) -> list[list[Numbers]]:
    """Stretches without a gap."""
    runs: list[list[Numbers]] = [[]]
    for place in places:
        if place is not None and all(map(math.isfinite, place)):
            runs[-1].append(place)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _stroke(run: Sequence[Place], kind: str) -> str:
    return f'<polyline class="{escape(kind)}" points="{_points(run)}"/>'


def _points(places: Iterable[Place]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
