"""`python -m prove.guard`: how fast a bad version is rolled back, how rarely a good one; docs/guides/rollouts.md."""

import argparse
import math
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from prove import baselines, streams
from prove.document import put
from prove.streams import ALPHA, STABLE_ERRORS, Arrays, Scenario

DOCUMENT = Path(__file__).parent.parent / "docs" / "guides" / "rollouts.md"
BEGIN, END = "<!-- guard:begin -->", "<!-- guard:end -->"
BASELINES = (baselines.kayenta, baselines.flagger, baselines.argo)
MARGIN = 0.005


@dataclass(frozen=True)
class Row:
    """One line of the table. `good` judges Argosy's figure."""

    name: str
    target: str
    argosy: str
    others: tuple[str, ...]
    good: bool


HARMS = (
    (Scenario("20 % errors", errors=0.2), 60, 8, 50),
    (Scenario("2 % errors", errors=0.02), 900, 100, 500),
    (Scenario("latency × 1.25", factor=1.25), 400, math.inf, 200),
    (Scenario("latency × 5 on one request in twenty", factor=5, of=0.05), 1200, math.inf, 600),
)
HEALTHY = Scenario("healthy")


def harm_row(scenario: Scenario, seconds: int, within: float, exposed: int, rollouts: int) -> Row:
    """Median seconds and candidate requests until the rollback."""
    out = streams.harm(scenario, rollouts, seconds, 11)
    s, n = float(np.median(out.seconds)), float(np.median(out.requests))
    target = (f"≤ {within:.0f} s, " if within < math.inf else "") + f"≤ {exposed} requests"
    others = tuple(_caught(*rule(scenario, min(rollouts, 300), 12)) for rule in BASELINES)
    argosy = f"**{s:.0f} s, {n:.0f} requests**"
    return Row(f"{scenario.name}: rolled back, median", target, argosy, others, s <= within and n <= exposed)


def _caught(hit: Arrays, served: Arrays) -> str:
    share = float(np.isfinite(hit).mean())
    if share < 0.5:
        return f"missed ({share:.0%} caught)"
    return f"{np.median(hit):.0f} s, {np.median(served[np.isfinite(hit)]):,.0f} requests" + (
        f" ({share:.0%} caught)" if share < 1 else ""
    )


def _share(count: int, total: int) -> str:
    from scipy.stats import binomtest

    bounds = binomtest(count, total).proportion_ci()
    return f"**{count / total:.2%}** ({count} of {total:,}; {bounds.low:.2%} to {bounds.high:.2%})"


def alarms(rollouts: int, seed: int) -> int:
    """Healthy one-hour rollouts that were rolled back."""
    return int(np.isfinite(streams.harm(HEALTHY, rollouts, 3600, seed).seconds).sum())


def quiet_row(counts: list[int], rollouts: int) -> Row:
    """False rollbacks."""
    stopped = sum(counts)
    others = tuple(f"{np.isfinite(rule(HEALTHY, min(rollouts, 1000), 13)[0]).mean():.1%}" for rule in BASELINES)
    argosy = _share(stopped, rollouts)
    return Row("healthy for an hour, ten metrics: rolled back", "≤ 1 %", argosy, others, stopped <= 0.01 * rollouts)


def promotion_rows(rollouts: int) -> list[Row]:
    """Healthy candidates let through, and those at the margin."""
    healthy = streams.safe(HEALTHY, rollouts, 1060, 14)
    half = float(np.median(healthy.requests))
    around = 0.98 * math.sqrt(rollouts)
    ends = np.sort(healthy.requests)[[int(rollouts / 2 - around), int(rollouts / 2 + around)]]
    late = float(np.isfinite(healthy.requests).mean())
    none = ("no proof asked",) * 3
    return [
        Row(
            "healthy: proven within 0.5 points, median",
            "≤ 2,400 requests",
            f"**{half:,.0f} requests** ({ends[0]:,.0f} to {ends[1]:,.0f}); {late:.0%} within 5,300",
            none,
            half <= 2400,
        )
    ]


def false_promotions(rollouts: int, seed: int) -> int:
    """Candidates exactly at the margin that were let through within an hour."""
    at_margin = Scenario("at the margin", errors=STABLE_ERRORS + MARGIN)
    return int(np.isfinite(streams.safe(at_margin, rollouts, 3600, seed).seconds).sum())


def margin_row(counts: list[int], rollouts: int) -> Row:
    """False promotions; the rules of others let through whatever they do not stop."""
    scenario = Scenario("at the margin", errors=STABLE_ERRORS + MARGIN)
    let = sum(counts)
    others = tuple(f"{1 - np.isfinite(rule(scenario, min(rollouts, 300), 15)[0]).mean():.0%}" for rule in BASELINES)
    argosy = _share(let, rollouts)
    return Row("1 % errors, past the margin: promoted", "≤ 1 %", argosy, others, let <= 0.01 * rollouts)


def fewest(power: float = 0.5) -> int:
    """The fewest candidate requests with which any test at level α, even one that looks once and knows the stable's
    rate exactly, tells 0.5 % from 1 % errors with this power (Neyman–Pearson, exact binomial)."""
    from scipy.stats import binom

    for n in range(500, 10_000, 10):
        critical = binom.ppf(ALPHA, n, STABLE_ERRORS + MARGIN) - 1
        if binom.cdf(critical, n, STABLE_ERRORS) >= power:
            return n
    raise AssertionError("no such number below 10,000")


def _line(row: Row) -> str:
    target = row.target if row.good else f"{row.target} (missed)"
    return f"| {' | '.join((row.name, target, row.argosy, *row.others))} |"


def table(rows: list[Row], rollouts: int, took: float) -> str:
    """The Markdown between the markers."""
    lines = [
        "| | target | Argosy | Kayenta-like | Flagger's sample | Argo Rollouts' example |",
        "| --- | --- | --- | --- | --- | --- |",
        *(_line(row) for row in rows),
        "",
        f"α = {ALPHA:.0%}; in brackets 95 % intervals of the simulation; {rollouts:,} healthy hours; {took:.0f} s on",
        "two cores.",
        f"Bound on promotion: with fewer than {fewest():,} requests no test at this α lets half of the healthy",
        "through, not even one that looks once, at a time chosen beforehand, and knows the stable's rate exactly.",
    ]
    return "\n".join(lines)


def write(text: str) -> None:
    """Put it between the markers of docs/guides/rollouts.md."""
    put(DOCUMENT, BEGIN, END, text)


def measure(rollouts: int) -> list[Row]:
    """Every row, on two processes."""
    few, chunk = max(100, rollouts // 4), max(1, rollouts // 8)
    with ProcessPoolExecutor(2) as pool:
        quiet = [pool.submit(alarms, chunk, 100 + index) for index in range(8)]
        margin = [pool.submit(false_promotions, 3 * chunk, 200 + index) for index in range(8)]
        harms = [pool.submit(harm_row, *case, few) for case in HARMS]
        promotions = pool.submit(promotion_rows, rollouts)
        rows = [future.result() for future in harms]
        rows.append(quiet_row([future.result() for future in quiet], chunk * 8))
        rows += promotions.result()
        rows.append(margin_row([future.result() for future in margin], 24 * chunk))
    return rows


def main() -> int:
    """1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m prove.guard", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="200 rollouts a row: does it run, roughly; writes nothing")
    options = parser.parse_args()
    rollouts, began = 200 if options.quick else 4000, time.monotonic()
    rows = measure(rollouts)
    text = table(rows, rollouts, time.monotonic() - began)
    print(text)
    if not options.quick:
        write(text)
    return 0 if options.quick or all(row.good for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
