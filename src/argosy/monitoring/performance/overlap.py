"""Whether the reference can speak for a window at all: how many of the window's rows lie where the reference has
none.

Every estimate without labels carries over what was seen in the reference. Where the window's rows are many times as
dense as the reference's there is nothing to carry over, and a figure would be a guess. How well a classifier tells
the two apart is no such sign by itself: a window from a narrow, but known, corner of the reference has a high AUC and
is judged well by the reference rows in that corner.
"""

import msgspec

from argosy.monitoring.performance.ratio import Ratios

FAR_RATIO = 50.0
FAR_SHARE = 0.07


class Overlap(msgspec.Struct, frozen=True, kw_only=True):
    """`far`: the share of the window's rows at places more than 50 times as dense as in the reference. `auc`: of the
    classifier that tells window from reference. `effective`: to how many equal rows the weighted reference amounts."""

    far: float
    auc: float
    effective: float


def overlap(ratios: Ratios) -> Overlap:
    """Sum up density ratios."""
    w = ratios.reference.clip(max=FAR_RATIO)
    return Overlap(
        far=float((ratios.window > FAR_RATIO).mean()),
        auc=ratios.auc,
        effective=float(w.sum() ** 2 / max(float((w**2).sum()), 1e-300)),
    )


def objection(found: Overlap) -> str:
    """Why there can be no estimate; empty where there can."""
    if found.far <= FAR_SHARE:
        return ""
    return (
        f"not estimable: {found.far:.0%} of the rows lie where the reference has next to none (density ratio above "
        f"{FAR_RATIO:g}; a classifier tells window from reference with AUC {found.auc:.2f}). Label some of these rows, "
        "or take a reference that has such rows"
    )
