"""A picture (SVG) of curves: a panel for each load, a line for each router, the time to first token over the level."""

import math
from itertools import groupby

from argosy_simulators.routing.play import Curve

WIDTH, PANEL, LEFT, TOP = 900, 260, 60, 40
PLOT_WIDTH, PLOT_HEIGHT = WIDTH - LEFT - 20, PANEL - 60
LOW, HIGH = 0.05, 100.0
"""Seconds at the ends of the axis, which is logarithmic."""
COLOURS = ("#999999", "#4c78a8", "#72b7b2", "#f2b06b", "#b279a2", "#d62728")


def svg(found: list[Curve]) -> str:
    """All of them. Lines are of p90; a dashed one is the bound that makes the knee."""
    loads = [(name, list(group)) for name, group in groupby(found, key=lambda each: each.load)]
    height = TOP + PANEL * len(loads)
    frame = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
    parts = [f'<svg {frame} font-family="sans-serif" font-size="12">']
    parts.append(f'<rect width="{WIDTH}" height="{height}" fill="white"/>')
    for at, one in enumerate(loads[0][1] if loads else []):
        x, colour = LEFT + 135 * at, COLOURS[at % len(COLOURS)]
        parts.append(f'<rect x="{x}" y="16" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{x + 14}" y="25">{one.router}</text>')
    for at, (name, curves) in enumerate(loads):
        parts += _panel(name, curves, TOP + PANEL * at)
    return "\n".join([*parts, "</svg>", ""])


def _panel(name: str, curves: list[Curve], top: int) -> list[str]:
    base = top + 24 + PLOT_HEIGHT
    most = max(point.level for point in curves[0].points)

    def y(seconds: float) -> float:
        share = math.log(min(max(seconds, LOW), HIGH) / LOW) / math.log(HIGH / LOW)
        return base - PLOT_HEIGHT * share

    parts = [f'<text x="{LEFT}" y="{top + 14}" font-size="14">{name}: p90 to first token, by level</text>']
    for seconds in (0.1, 1.0, 10.0, 100.0):
        parts.append(f'<text x="{LEFT - 6}" y="{y(seconds) + 4:.1f}" text-anchor="end">{seconds:g} s</text>')
        parts.append(_line([(LEFT, y(seconds)), (LEFT + PLOT_WIDTH, y(seconds))], "#dddddd"))
    bound = y(curves[0].bound)
    parts.append(_line([(LEFT, bound), (LEFT + PLOT_WIDTH, bound)], "#222222", dashed=True))
    for at, one in enumerate(curves):
        line = [(LEFT + PLOT_WIDTH * point.level / most, y(point.ttft_p90)) for point in one.points]
        parts.append(_line(line, COLOURS[at % len(COLOURS)]))
    for point in curves[0].points:
        x = LEFT + PLOT_WIDTH * point.level / most
        parts.append(f'<text x="{x:.1f}" y="{base + 16}" text-anchor="middle">{point.level:g}</text>')
    return parts


def _line(points: list[tuple[float, float]], colour: str, *, dashed: bool = False) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    return f'<polyline fill="none" stroke="{colour}" stroke-width="1.5"{dash} points="{path}"/>'
