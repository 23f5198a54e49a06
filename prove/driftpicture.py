"""The picture of docs/guides/drift.md: columns flagged without drift by window size, and drifts found by rows seen."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

WIDTH, HEIGHT, LEFT, TOP, PANEL = 860, 320, 60, 50, 330
OURS, THEIRS, GREY = "#1b6ca8", "#c44e52", "#666666"


class Quiet(Protocol):
    """A quarter without drift."""

    rows: int
    alarms: int
    columns: float


class Found(Protocol):
    """A drift."""

    shift: float
    window: int
    rows: int | None


def svg(quiets: Sequence[Quiet], founds: Sequence[Found], columns: int = 50, looks: int = 2160) -> str:
    """Two panels, side by side."""
    frame = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-size="12"'
    parts = [f'<svg {frame} font-family="sans-serif">', f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']
    parts += _alarms(quiets, columns, looks) + _power(founds)
    return "\n".join([*parts, "</svg>", ""])


def _text(x: float, y: float, words: str, colour: str = GREY, anchor: str = "middle") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" fill="{colour}" text-anchor="{anchor}">{words}</text>'


def _line(points: Sequence[tuple[float, float]], colour: str) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'


def _alarms(quiets: Sequence[Quiet], columns: int, looks: int) -> list[str]:
    """Per model-quarter, on a log scale from 0.01 to 100,000; nothing seen is drawn at the bottom."""
    sizes = sorted({run.rows for run in quiets})
    high = {size: np.mean([run.columns for run in quiets if run.rows == size]) * columns * looks for size in sizes}
    ours = {size: np.mean([run.alarms for run in quiets if run.rows == size]) for size in sizes}

    def y(value: float) -> float:
        return TOP + 200 * (5 - np.log10(max(value, 0.01))) / 7

    def x(size: int) -> float:
        return LEFT + PANEL * (np.log(size / sizes[0]) / max(np.log(sizes[-1] / sizes[0]), 1e-9))

    parts = [_text(LEFT + PANEL / 2, 24, "no drift: false alarms per model and quarter", "black")]
    for power in range(-2, 6):
        at = y(10.0**power)
        parts.append(f'<line x1="{LEFT}" x2="{LEFT + PANEL}" y1="{at:.0f}" y2="{at:.0f}" stroke="#dddddd"/>')
        parts.append(_text(LEFT - 6, at + 4, f"{10.0**power:,g}" if power > -2 else "none", anchor="end"))
    parts += [_text(x(size), TOP + 218, f"{size:,}") for size in sizes]
    parts.append(_text(LEFT + PANEL / 2, TOP + 238, "rows a window"))
    parts += [_line([(x(size), y(high[size])) for size in sizes], THEIRS)]
    parts += [_line([(x(size), y(ours[size])) for size in sizes], OURS)]
    parts.append(_text(LEFT + 8, TOP + 262, "Evidently's default rule (columns flagged)", THEIRS, "start"))
    parts.append(_text(LEFT + PANEL, TOP + 262, "Argosy", OURS, "end"))
    return parts


def _power(founds: Sequence[Found]) -> list[str]:
    """Share found by rows seen, at 0.1 standard deviations in the smallest windows, at 0.5 likewise."""
    left, most = LEFT + PANEL + 90, 5000
    parts = [_text(left + PANEL / 2, 24, "one column of fifty moves: share found by rows seen", "black")]
    for share in (0, 0.5, 0.9, 1):
        at = TOP + 200 * (1 - share)
        parts.append(f'<line x1="{left}" x2="{left + PANEL}" y1="{at:.0f}" y2="{at:.0f}" stroke="#dddddd"/>')
        parts.append(_text(left - 6, at + 4, f"{share:.0%}", anchor="end"))
    parts += [_text(left + PANEL * size / most, TOP + 218, f"{size:,}") for size in (0, 1000, 2000, 3000, 4000, 5000)]
    for shift, colour in ((0.1, OURS), (0.5, "#3a9e5c")):
        smallest = min((run.window for run in founds if run.shift == shift), default=0)
        runs = [run.rows for run in founds if run.shift == shift and run.window == smallest]
        points = [(0.0, 0.0)]
        for seen in sorted(rows for rows in runs if rows is not None):
            share = sum(rows is not None and rows <= seen for rows in runs) / len(runs)
            points += [(seen, points[-1][1]), (seen, share)]
        parts.append(_line([(left + PANEL * min(x, most) / most, TOP + 200 * (1 - y)) for x, y in points], colour))
        parts.append(
            _text(left + (60 if shift == 0.5 else 230), TOP + 262, f"{shift} SD, windows of {smallest}", colour)
        )
    return parts
