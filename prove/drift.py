"""`python -m prove.drift`: how rarely drift is cried where there is none, how soon it is found; writes
docs/guides/drift.md."""

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from prove.document import put
from prove.driftpicture import svg
from prove.driftstreams import COLUMNS, LOOKS, NUMBERS, REFERENCE, begin, evidently, judge, model

ROOT = Path(__file__).parent.parent
DOCUMENT, PICTURE = ROOT / "docs" / "guides" / "drift.md", ROOT / "docs" / "guides" / "drift.svg"
BEGIN, END = "<!-- drift:begin -->", "<!-- drift:end -->"
WINDOWS = {100: 12, 300: 6, 1000: 4, 5000: 2}
"""Rows a window → model-quarters simulated."""
POWER = ((0.1, 5000, (100, 500, 1000, 5000)), (0.5, 300, (100, 300)))
BURN_IN = 60
EVERY = 40
"""Evidently is asked at every so many looks."""


@dataclass(frozen=True)
class Quiet:
    """One model-quarter without drift: alarms of ours; of Evidently, flagged shares of columns and of whole looks."""

    rows: int
    alarms: int
    columns: float
    looks: float


@dataclass(frozen=True)
class Found:
    """One drift: after how many rows it was found, None if not within the limit; whether Evidently flags the
    column."""

    shift: float
    window: int
    rows: int | None
    evidently: bool


def quiet(rows: int, seed: int, looks: int = LOOKS) -> Quiet:
    """A quarter of hourly looks at windows without drift."""
    one, alarms, flagged = model(seed), 0, list[np.ndarray]()
    state = begin(one)
    for index in range(looks):
        drawn = one.rows(rows)
        found, state = judge(one, state, one.count(drawn))
        alarms += bool(found and found.alarms)
        if index % EVERY == 0:
            flagged.append(evidently(one, drawn))
    shares = np.array(flagged).mean(axis=1)
    return Quiet(rows, alarms, float(shares.mean()), float((shares >= 0.5).mean()))


def seasonal(rows: int, seed: int, looks: int = LOOKS) -> int:
    """Alarms of a quarter in which every column swings by half a standard deviation over the day; each window is
    compared with the same hour of the last four weeks."""
    one, alarms, past = model(seed), 0, dict[int, np.ndarray]()
    state = begin(one)
    for hour in range(-4 * 168, looks):
        drawn = one.rows(rows)
        drawn += 0.5 * np.sin(2 * np.pi * (hour % 24) / 24)
        past[hour] = one.count(drawn)
        if hour >= 0:
            base = np.sum([past.pop(hour - 672), *(past[hour - 168 * week] for week in (1, 2, 3))], axis=0)
            found, state = judge(one, state, past[hour], base)
            alarms += bool(found and found.alarms)
    return alarms


def power(shift: float, limit: int, window: int, seed: int) -> Found:
    """One column of fifty moves after 60 looks without drift."""
    one = model(seed)
    state = begin(one)
    for _ in range(BURN_IN):
        _, state = judge(one, state, one.count(one.rows(window)))
    for seen in range(window, limit + 1, window):
        drawn = one.rows(window, shift)
        found, state = judge(one, state, one.count(drawn))
        if found and any(alarm.column == "n1" for alarm in found.alarms):
            return Found(shift, window, seen, bool(evidently(one, drawn)[1]))
    return Found(shift, window, None, bool(evidently(one, drawn)[1]))


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    target: str
    argosy: str
    evidently: str
    good: bool


def quiet_row(runs: list[Quiet]) -> Row:
    """False alarms a model-quarter, with the upper end of a 95 % interval."""
    from scipy.stats import chi2

    total, quarters = sum(run.alarms for run in runs), len(runs)
    upper = float(chi2.ppf(0.95, 2 * total + 2)) / 2 / quarters
    columns, looks = np.mean([run.columns for run in runs]), np.mean([run.looks for run in runs])
    sizes = {run.rows for run in runs}
    name = "windows of all sizes together" if len(sizes) > 1 else f"windows of {runs[0].rows:,} rows"
    return Row(
        f"no drift, {name}: false alarms per model-quarter",
        "≤ 1",
        f"**{total / quarters:.2f}** ({total} in {quarters}; at most {upper:.2f})",
        f"{columns * COLUMNS * LOOKS:,.0f} columns flagged ({columns:.1%}); {looks:.0%} of looks by half of them",
        total / quarters <= 1,
    )


def power_row(runs: list[Found], limit: int) -> Row:
    """Share found within the limit."""
    first, found = runs[0], [run.rows for run in runs if run.rows is not None]
    share = len(found) / len(runs)
    median = f", median after {np.median(found):,.0f} rows" if found else ""
    return Row(
        f"a move of {first.shift} SD, windows of {first.window:,}: found within {limit:,} rows",
        "≥ 90 %",
        f"**{share:.0%}** of {len(runs)}{median}",
        f"{np.mean([run.evidently for run in runs]):.0%} of looks flag the column",
        share >= 0.9,
    )


def season_row(alarms: list[int]) -> Row:
    """False alarms where the day swings."""
    return Row(
        "a daily swing of ± 0.5 SD, windows of 1,000, same hour of four weeks: false alarms per model-quarter",
        "≤ 1",
        f"**{np.mean(alarms):.2f}** ({sum(alarms)} in {len(alarms)} quarters)",
        "not offered",
        bool(np.mean(alarms) <= 1),
    )


def table(rows: list[Row], took: float) -> str:
    """The Markdown between the markers."""
    lines = ["| | target | Argosy | Evidently's default rule |", "| --- | --- | --- | --- |"]
    for row in rows:
        target = row.target if row.good else f"{row.target} (missed)"
        lines.append(f"| {row.name} | {target} | {row.argosy} | {row.evidently} |")
    lines += [
        "",
        f"{COLUMNS} columns ({NUMBERS} numbers, {COLUMNS - NUMBERS} categories), correlated in groups; reference of",
        f"{REFERENCE:,} rows; {LOOKS:,} looks a quarter; moves begin after {BURN_IN} looks; {took:.0f} s.",
    ]
    return "\n".join(lines)


def write(text: str) -> None:
    """Put it between the markers of docs/guides/drift.md."""
    put(DOCUMENT, BEGIN, END, text)


def measure(part: float) -> tuple[list[Row], list[Quiet], list[Found]]:
    """Every row, on two processes. `part` of the runs."""
    few, looks = max(2, round(40 * part)), round(LOOKS * min(1, 10 * part))
    with ProcessPoolExecutor(2) as pool:
        calm = {
            rows: [pool.submit(quiet, rows, 100 * rows + seed, looks) for seed in range(max(1, round(count * part)))]
            for rows, count in sorted(WINDOWS.items(), reverse=True)
        }
        swings = [pool.submit(seasonal, 1000, 70 + seed, looks) for seed in range(max(1, round(2 * part)))]
        drifts = {
            (limit, window, shift): [pool.submit(power, shift, limit, window, 1000 + seed) for seed in range(few)]
            for shift, limit, windows in POWER
            for window in windows
        }
        quiets = {rows: [run.result() for run in runs] for rows, runs in sorted(calm.items())}
        founds = {key: [run.result() for run in runs] for key, runs in drifts.items()}
        rows = [quiet_row(runs) for runs in (*quiets.values(), [run for runs in quiets.values() for run in runs])]
        rows.append(season_row([run.result() for run in swings]))
        rows += [power_row(runs, key[0]) for key, runs in founds.items()]
    return rows, [run for runs in quiets.values() for run in runs], [run for runs in founds.values() for run in runs]


def main() -> int:
    """1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m prove.drift", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few runs: does it run; writes nothing")
    parser.add_argument("--part", type=float, default=1.0, help="of the runs; below 0.1 quarters get shorter, too")
    options = parser.parse_args()
    began = time.monotonic()
    rows, quiets, founds = measure(0.02 if options.quick else options.part)
    text = table(rows, time.monotonic() - began)
    print(text)
    if not options.quick:
        write(text)
        PICTURE.write_text(svg(quiets, founds), encoding="utf-8")
    return 0 if options.quick or all(row.good for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
