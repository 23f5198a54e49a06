"""Pictures of a comparison: an SVG with one panel for each policy, and a line of blocks for terminals."""

from collections.abc import Sequence
from html import escape

import numpy as np

from argosy_simulators.clairvoyant import offered
from argosy_simulators.compare import Comparison, Line
from argosy_simulators.score import LATE
from argosy_simulators.trace import Floats

WIDTH, PANEL, LEFT, TOP = 900, 130, 60, 46
PLOT_WIDTH, PLOT_HEIGHT = WIDTH - LEFT - 16, PANEL - 44
POINTS = 300
BLOCKS = " ▁▂▃▄▅▆▇█"
READY, STARTING, NEEDED, WAITING = "#4c78a8", "#f2b06b", "#222222", "#d62728"


def sparkline(values: Sequence[float], width: int = 60, most: float | None = None) -> str:
    """Values as blocks, the largest of each stretch, scaled to `most` (default: the largest of all)."""
    if not len(values):
        return ""
    parts = np.array_split(np.array(values, dtype=np.float64), min(width, len(values)))
    top = max(most if most is not None else max(values), 1e-9)
    return "".join(BLOCKS[round(min(max(part.max() / top, 0.0), 1.0) * (len(BLOCKS) - 1))] for part in parts)


def series(line: Line, grid: Floats) -> tuple[Floats, Floats]:
    """Ready and paid-for replicas at each time of the grid."""
    at = np.array([one.at for one in line.run.samples])
    where = np.clip(np.searchsorted(at, grid, side="right") - 1, 0, len(at) - 1)
    ready = np.array([one.ready for one in line.run.samples], dtype=np.float64)
    paid = np.array([one.ready + one.starting + one.draining for one in line.run.samples], dtype=np.float64)
    return ready[where], paid[where]


def needed(found: Comparison, grid: Floats) -> Floats:
    """Replicas that would be busy if nobody waited, at each time of the grid."""
    times, running = offered(found.trace.arrivals, found.trace.services)
    return running[np.maximum(np.searchsorted(times, grid, side="right") - 1, 0)] / found.setup.concurrency


def svg(found: Comparison) -> str:
    """The picture: ready replicas (blue), starting or draining ones (orange), the load (black), late requests (red)."""
    grid = np.linspace(found.begin, found.end, POINTS)
    load = needed(found, grid)
    height = TOP + PANEL * len(found.lines) + 8
    title = f"{found.trace.name}, cold start {found.setup.cold_start:g} s, {found.setup.concurrency} slots a replica"
    frame = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
    parts = [
        f'<svg {frame} font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{LEFT}" y="18" font-size="14">{escape(title)}</text>',
        *_legend(),
    ]
    for number, line in enumerate(found.lines):
        parts += _panel(found, line, grid, load, TOP + PANEL * number)
    return "\n".join([*parts, "</svg>", ""])


def _legend() -> list[str]:
    names = ((READY, "ready"), (STARTING, "starting or draining"), (NEEDED, "load, in replicas"), (WAITING, "late"))
    return [
        f'<rect x="{LEFT + 170 * at}" y="28" width="10" height="10" fill="{colour}"/>'
        f'<text x="{LEFT + 14 + 170 * at}" y="37">{name}</text>'
        for at, (colour, name) in enumerate(names)
    ]


def _panel(found: Comparison, line: Line, grid: Floats, load: Floats, top: int) -> list[str]:
    ready, paid = series(line, grid)
    most = max(float(paid.max()), float(load.max()), 1.0)
    base = top + 22 + PLOT_HEIGHT
    x = LEFT + PLOT_WIDTH * (grid - found.begin) / max(found.end - found.begin, 1e-9)

    def y(values: Floats) -> Floats:
        return base - PLOT_HEIGHT * values / most

    figures = line.score
    text = (
        f"{line.policy}: {figures.replica_hours:.2f} replica-hours, {line.ratio:.2f} × clairvoyant, "
        f"{figures.late:.2%} late, p99 wait {figures.p99_wait:.1f} s"
    )
    return [
        f'<text x="{LEFT}" y="{top + 14}">{escape(text)}</text>',
        _area(x, y(paid), base, STARTING),
        _area(x, y(np.minimum(ready, paid)), base, READY),
        f'<polyline fill="none" stroke="{NEEDED}" points="{_points(x, y(load))}"/>',
        *_late(found, line, base),
        f'<text x="{LEFT - 8}" y="{top + 28}" text-anchor="end">{most:.0f}</text>',
        f'<text x="{LEFT - 8}" y="{base}" text-anchor="end">0</text>',
    ]


def _area(x: Floats, y: Floats, base: int, colour: str) -> str:
    steps_x, steps_y = np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]
    path = _points(steps_x, steps_y)
    return f'<polygon fill="{colour}" points="{x[0]:.1f},{base} {path} {x[-1]:.1f},{base}"/>'


def _points(x: Floats, y: Floats) -> str:
    return " ".join(f"{one:.1f},{other:.1f}" for one, other in zip(x, y, strict=True))


def _late(found: Comparison, line: Line, base: int) -> list[str]:
    """A mark under the panel wherever requests were late."""
    arrivals = found.trace.arrivals
    late = arrivals[(line.run.waits > LATE) & (arrivals >= found.begin) & (arrivals <= found.end)]
    columns = np.unique((PLOT_WIDTH * (late - found.begin) / max(found.end - found.begin, 1e-9)).astype(int))
    return [f'<rect x="{LEFT + at}" y="{base + 3}" width="1.5" height="6" fill="{WAITING}"/>' for at in columns]
