"""Charts as SVG, drawn on the server: no script, no inline style; colours are classes of the style sheet."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from markupsafe import Markup, escape

Values = Sequence[float | None]


def field(course: Iterable[Any], name: str) -> list[float | None]:
    """One field of many things."""
    return [getattr(each, name) for each in course]


def spark(values: Values, label: str, width: int = 120, height: int = 24) -> Markup:
    """A line without axes: the shape of the last quarter of an hour. `label` is read out instead of it."""
    known = [each for each in values if each is not None]
    top = max(known, default=0.0) or 1.0
    count = max(len(values), 60)
    runs = _runs(
        [
            (width - (len(values) - 1 - at) * width / (count - 1), height - 2 - (height - 4) * value / top)
            if value is not None
            else None
            for at, value in enumerate(values)
        ]
    )
    lines = "".join(f'<polyline class="line" points="{_points(run)}"/>' for run in runs)
    fills = "".join(
        f'<polygon class="fill" points="{_points([(run[0][0], height), *run, (run[-1][0], height)])}"/>' for run in runs
    )
    return Markup(
        f'<svg class="spark" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}" '
        f'preserveAspectRatio="none">{fills}{lines}</svg>'
    )


def _runs(places: Sequence[tuple[float, float] | None]) -> list[list[tuple[float, float]]]:
    """Stretches without a gap."""
    runs: list[list[tuple[float, float]]] = [[]]
    for place in places:
        if place is not None and all(map(math.isfinite, place)):
            runs[-1].append(place)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _points(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
