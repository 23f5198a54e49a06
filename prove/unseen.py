"""Windows that the reference cannot speak for, planted: does the verdict "not estimable" come there, and only there?

A region is a random value or range of one or two census columns, with 2 to 30 % of the reference's rows. Unseen: the
reference loses the region, and 20, 50 or 100 % of the window lie in it. Seen: the reference keeps it, and the window
has up to twenty times as much of it as the reference.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from argosy.monitoring.performance.ratio import objection, overlap, ratios
from prove.census import Census

ROWS = 2000
MOST_RATIO = 20.0
SHARES = (0.2, 0.5, 1.0)

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Planted:
    """Of `windows` of a kind, how many were `refused`; `should` says whether they ought to be."""

    kind: str
    should: bool
    refused: int
    windows: int

    @property
    def right(self) -> float:
        """The share of right verdicts."""
        return (self.refused if self.should else self.windows - self.refused) / self.windows


def region(rng: np.random.Generator, reference: Floats, other: Floats) -> tuple[Mask, Mask]:
    """Which rows of each lie in a random region."""
    while True:
        inside, inside_other = np.ones(len(reference), bool), np.ones(len(other), bool)
        for column in rng.choice(reference.shape[1], rng.integers(1, 3), replace=False):
            values = np.unique(reference[:, column])
            low, high = np.sort(rng.choice(values, 2)) if len(values) > 12 else np.repeat(rng.choice(values), 2)
            inside &= (reference[:, column] >= low) & (reference[:, column] <= high)
            inside_other &= (other[:, column] >= low) & (other[:, column] <= high)
        if 0.02 < inside.mean() < 0.3 and inside_other.sum() >= ROWS:
            return inside, inside_other


def mixture(rng: np.random.Generator, rows: Floats, inside: Mask, share: float) -> Floats:
    """A window with this share from inside."""
    count = round(ROWS * share)
    here, there = np.flatnonzero(inside), np.flatnonzero(~inside)
    chosen = [rng.choice(here, count, replace=False), rng.choice(there, ROWS - count, replace=False)]
    return rows[np.concatenate(chosen)]


def refuses(reference: Floats, window: Floats) -> bool:
    """Whether the verdict is "not estimable"."""
    return bool(objection(overlap(ratios(reference, window))))


def simulate(census: Census, trials: int) -> list[Planted]:
    """So many regions of each kind."""
    reference, other = census.reference.features, census.analysis.features
    assert reference is not None
    assert other is not None
    refused = dict.fromkeys(("seen", *SHARES), 0)
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        inside, inside_other = region(rng, reference, other)
        for share in SHARES:
            refused[share] += refuses(reference[~inside], mixture(rng, other, inside_other, share))
        share = min(1.0, float(inside.mean()) * rng.uniform(1, MOST_RATIO))
        refused["seen"] += refuses(reference, mixture(rng, other, inside_other, share))
    found = [
        Planted(f"{share:.0%} of the window in an unseen region", True, refused[share], trials) for share in SHARES
    ]
    return [*found, Planted("more of a region that the reference has, up to × 20", False, refused["seen"], trials)]


def table(planted: list[Planted]) -> str:
    """In Markdown."""
    lines = ["| planted | refused | right |", "| --- | --- | --- |"]
    lines += [f"| {one.kind} | {one.refused} of {one.windows} | {one.right:.1%} |" for one in planted]
    return "\n".join(lines)


def good(planted: list[Planted]) -> bool:
    """Right in at least 95 % of each kind."""
    return all(one.right >= 0.95 for one in planted)
