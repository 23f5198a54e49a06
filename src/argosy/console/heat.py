"""Findings of drift as a heat map: a row for each column, a place for each window. Pure."""

import math
from collections.abc import Sequence

import msgspec

from argosy.store.findings import Finding, Verdict

PLACES = 48
LEVELS = 5
MARGIN = 0.1
"""Where a finding does not say which effect begins to matter."""
RANK = {"multivariate": 0, "prediction": 1, "drift": 2}


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """One place along time, in seconds since 1970."""

    start: float
    end: float


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One subject; `cells` has a finding for each window, or None where there was none."""

    subject: str
    kind: str
    cells: tuple[Finding | None, ...]

    @property
    def drifted(self) -> bool:
        """Whether its last finding says so."""
        last = next((each for each in reversed(self.cells) if each), None)
        return last is not None and drifted(last)


class Heat(msgspec.Struct, frozen=True, kw_only=True):
    """The map: what drifted first, then by the largest effect."""

    windows: tuple[Window, ...] = ()
    rows: tuple[Row, ...] = ()


def drifted(finding: Finding) -> bool:
    """Whether the verdict is that it has drifted."""
    return finding.outcome is Verdict.DRIFT


def level(finding: Finding | None) -> int:
    """0 to 5: the effect, in halves of the margin from which it matters; -1 where nothing is known."""
    if finding is None or finding.effect is None or not math.isfinite(finding.effect):
        return -1
    margin, zero = finding.detail.get("margin") or MARGIN, finding.detail.get("zero") or 0.0
    if not isinstance(margin, int | float) or not isinstance(zero, int | float) or margin <= zero:
        return 0
    return min(LEVELS, int(2 * max(abs(finding.effect) - zero, 0.0) / (margin - zero)))


def heat(findings: Sequence[Finding], places: int = PLACES) -> Heat:
    """Many windows are put together, so that no more than `places` remain; each cell shows the worst of its own."""
    ends = sorted({each.window_end for each in findings})
    if not ends:
        return Heat()
    width = math.ceil(len(ends) / places)
    place = {end: at // width for at, end in enumerate(ends)}
    count = place[ends[-1]] + 1
    starts = [min(each.window_start for each in findings if place[each.window_end] == at) for at in range(count)]
    windows = tuple(Window(start=starts[at], end=ends[min((at + 1) * width, len(ends)) - 1]) for at in range(count))
    cells: dict[tuple[str, str], list[Finding | None]] = {}
    for each in findings:
        row = cells.setdefault((each.kind, each.subject), [None] * count)
        at = place[each.window_end]
        row[at] = max((one for one in (row[at], each) if one), key=_severity)
    rows = [Row(subject=subject, kind=kind, cells=tuple(row)) for (kind, subject), row in cells.items()]
    return Heat(windows=windows, rows=tuple(sorted(rows, key=_order)))


def _severity(finding: Finding) -> tuple[bool, int, float]:
    return drifted(finding), level(finding), finding.window_end


def _order(row: Row) -> tuple[int, bool, float, str]:
    worst = max((level(each) for each in row.cells), default=0)
    return RANK.get(row.kind, 3), not row.drifted, -worst, row.subject
