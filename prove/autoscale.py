"""Tune every scaling policy on the first half of a trace, report the second: `python -m prove.autoscale`.

Writes the tables into docs/guides/autoscaling.md, between its markers, and the picture beside it. The exit status
is 1 where the target is missed: on the conversation trace at most 1.6 times the clairvoyant replica-hours with at most
1 % of requests late, and cheaper than every baseline that keeps to 1 %; or where a floor of `prove.elastic` is.
"""

import sys
from collections.abc import Sequence
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from argosy.capacity.autoscale import Autoscale
from argosy.capacity.policy import Policy
from argosy.spec.scaling import MOST, Scaling
from argosy_simulators.baselines.hpa import HPA
from argosy_simulators.baselines.kpa import KPA
from argosy_simulators.baselines.ray import RayServe
from argosy_simulators.baselines.static import Static
from argosy_simulators.compare import DEFAULTS, Comparison, Line, compare, static_peak
from argosy_simulators.picture import svg
from argosy_simulators.score import Score, score
from argosy_simulators.simulate import Setup, simulate
from argosy_simulators.trace import Trace, make, read
from prove import elastic
from prove.choices import grid, setting
from prove.document import put

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data" / "azure_llm"
DOCUMENT, PICTURE = ROOT / "docs" / "guides" / "autoscaling.md", ROOT / "docs" / "guides" / "autoscaling.svg"
BEGIN, END = "<!-- prove:begin -->", "<!-- prove:end -->"
ON_AT = 300.0
LATE, RATIO = 0.01, 1.6
RESERVES = {"tuned": LATE / 2, "tuned to 1 %": LATE}
"""How late the first half may be for a setting to be chosen: half of what is allowed, and all of it."""
SHARES = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)


def candidates(peak: int) -> dict[str, list[Policy[Any]]]:
    """The settings that are tried, by policy."""
    minutes = (60.0, 120.0, 300.0, 600.0)
    return {
        "argosy": [
            Autoscale(Scaling(max=MOST, **one), thrift=thrift)
            for thrift in (2.0, 4.0, 8.0)
            for one in grid(confidence=(0.5, 0.75), window=(120.0, 240.0), patience=(60.0, 120.0, 180.0, 300.0))
        ],
        "kpa": [KPA(**one) for one in grid(utilization=SHARES, stable=minutes, scale_down_delay=(0.0, 300.0, 600.0))],
        "hpa": [
            HPA(**one)
            for one in grid(utilization=SHARES, tolerance=(0.05, 0.1, 0.2), stabilization=(120.0, 300.0, 600.0))
        ],
        "ray": [
            RayServe(**one)
            for one in grid(
                utilization=SHARES,
                look_back=(30.0, 60.0, 120.0),
                up_delay=(0.0, 30.0),
                down_delay=(120.0, 300.0, 600.0),
            )
        ],
        "static": [Static(count) for count in range(1, peak + 1)],
    }


def tuned(trace: Trace, setup: Setup, policies: Sequence[Policy[Any]]) -> list[Policy[Any]]:
    """For each of `RESERVES` the cheapest of the first half that keeps to that share, else the least late.

    The second half is cut off, not only left out of the count.
    """
    half = trace.arrivals <= trace.end / 2
    first = Trace(trace.name, trace.arrivals[half], trace.services[half])

    def figures(policy: Policy[Any]) -> Score:
        initial = policy.replicas if isinstance(policy, Static) else setup.initial
        return score(first, simulate(first, policy, msgspec.structs.replace(setup, initial=initial)), ON_AT)

    scored = [(figures(policy), policy) for policy in policies]
    return [
        min(scored, key=lambda one: (max(one[0].late, late), one[0].replica_hours))[1] for late in RESERVES.values()
    ]


def stacked(trace: Trace, copies: int) -> Trace:
    """So many copies on top of each other, each shifted by its part of the trace and wrapped."""
    shifted = [(trace.arrivals + at * trace.end / copies) % trace.end for at in range(copies)]
    return make(f"{trace.name} x{copies}", np.concatenate(shifted), np.tile(trace.services, copies))


def judged(trace: Trace) -> tuple[Comparison, dict[str, Policy[Any]]]:
    """Tune on the first half, compare on the second; the policies with their defaults stand beside."""
    peak = static_peak(trace, Setup()).replicas
    setup = Setup(initial=peak, on_at=ON_AT)
    chosen = {
        f"{name}, {how}": policy
        for name, every in candidates(peak).items()
        for how, policy in zip(RESERVES, tuned(trace, setup, every), strict=True)
    }
    plain = {f"{name}, defaults": make_one() for name, make_one in DEFAULTS.items()}
    return compare(trace, chosen | plain, setup, trace.end / 2), chosen


def table(found: Comparison, chosen: dict[str, Policy[Any]]) -> str:
    """A Markdown table of one comparison."""
    span = f"minute {found.begin / 60:.0f} to {found.end / 60:.0f}"
    bounds = f"clairvoyant {found.bound.replica_hours:.2f} replica-hours, work alone {found.bound.work_hours:.2f}"
    rows = [
        f"**{found.trace.name}**, {span}: {bounds}",
        "",
        "| policy | replica-hours | x clairvoyant | x work | over 2 s | p99 wait | peak | setting |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    return "\n".join([*rows, *(row(line, chosen.get(line.policy)) for line in found.lines), ""])


def row(line: Line, policy: Policy[Any] | None) -> str:
    """One line of the table."""
    one = line.score
    return (
        f"| {line.policy} | {one.replica_hours:.2f} | {line.ratio:.2f} | {line.work_ratio:.2f} | {one.late:.2%} "
        f"| {one.p99_wait:.1f} s | {one.peak} | {setting(policy)} |"
    )


def verdict(found: Comparison, how: str) -> tuple[bool, str]:
    """Whether the target is met by the policies tuned this way, and a sentence that says by how much."""
    named = [line.policy.split(", ", 1) for line in found.lines]
    lines = {name: line for (name, tuning), line in zip(named, found.lines, strict=True) if tuning == how}
    ours = lines.pop("argosy")
    kept = [line for line in lines.values() if line.score.late <= LATE]
    best = min(kept, key=lambda line: line.score.replica_hours, default=None)
    cheaper = best is None or ours.score.replica_hours < best.score.replica_hours
    met = ours.ratio <= RATIO and ours.score.late <= LATE and cheaper
    text = (
        f"{found.trace.name}, {how}: target {'met' if met else 'missed'}. Argosy took {ours.ratio:.2f} x the "
        f"clairvoyant's replica-hours ({ours.work_ratio:.2f} x the work) with {ours.score.late:.2%} of requests late"
    )
    if best:
        change = ours.score.replica_hours / best.score.replica_hours - 1
        text += f"; {change:+.1%} replica-hours against the best baseline that kept to 1 % ({best.policy})"
    return met, text + "."


def from_two(trace: Trace) -> Comparison:
    """The whole trace from its empty beginning, two replicas, defaults: what a stock installation does."""
    return compare(trace, {name: make_one() for name, make_one in DEFAULTS.items()}, Setup())


def write(text: str) -> None:
    """Put the text between the markers of the document."""
    put(DOCUMENT, BEGIN, END, text)


def main() -> int:
    """Prove it; 1 where the target is missed."""
    files = {name: DATA / f"AzureLLMInferenceTrace_2023_{name}.csv" for name in ("conv", "code")}
    if not all(path.is_file() for path in files.values()):
        print(f"the Azure traces are not in {DATA}: nothing was proved", file=sys.stderr)
        return 1
    conv, code = (msgspec.structs.replace(read(path), name=name) for name, path in files.items())
    with Pool(2) as pool:
        whole = pool.map_async(from_two, [conv, code])
        many = stacked(conv, 4)
        colds = [(conv, cold) for cold in elastic.FLOORS]
        wide = pool.starmap_async(elastic.rows, colds, chunksize=1)
        large = pool.starmap_async(elastic.larger, colds, chunksize=1)
        pools = pool.starmap_async(elastic.pooled, [(conv, code), (many, code)], chunksize=1)
        results = pool.map(judged, [conv, code, many], chunksize=1)
        begun = whole.get()
        rows, shared = [*(row for each in wide.get() for row in each), *large.get()], pools.get()
    verdicts = [verdict(found, how) for found, _ in results for how in RESERVES]
    further = list(elastic.verdicts(rows, shared))
    drawn = [line for line in results[0][0].lines if line.policy.endswith("tuned")]
    PICTURE.write_text(svg(msgspec.structs.replace(results[0][0], lines=drawn)), encoding="utf-8")
    parts = [*(f"- {text}" for _, text in (*verdicts, *further)), "", *elastic.report(rows, shared)]
    parts += [table(*one) for one in results]
    parts += ["Defaults from two replicas and an empty system, whole trace:", "", *(table(one, {}) for one in begun)]
    write("\n".join(parts))
    print("\n".join(text for _, text in (*verdicts, *further)))
    return 0 if verdicts[0][0] and all(held for held, _ in further) else 1


if __name__ == "__main__":
    sys.exit(main())
