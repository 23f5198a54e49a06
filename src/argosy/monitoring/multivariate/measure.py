"""Every comparison of whole rows that fits a model: of its table, its vectors, and what it answers; and their evidence.

As column by column (`drift.detector`), the e-values of each comparison accumulate to a Shiryaev-Roberts statistic; the
mean of these is the evidence of whole rows. An alarm needs it to reach the run length, and a comparison to blame whose
effect matters.

Each window is compared with rows drawn from all that came before it. Given all rows together, which of them are the
last window's is a matter of chance alone where nothing changes, whatever earlier comparisons found; so the mean of R
after t windows is at most t. The e-detectors of martingales say the same of the first time that R is large; that
step holds here in the limit of many rows, as it does for columns (`drift.evidence`).
"""

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from argosy.monitoring.eprocess import accumulate, calibrated, named
from argosy.monitoring.multivariate import classifier, components, kernel, outputs
from argosy.monitoring.multivariate.shift import SPREAD, Shift
from argosy.monitoring.multivariate.table import Pair, Sides

LEAST = 50
"""Rows on each side that a comparison needs."""
AUC, DISTANCE = 0.55, 0.05
"""Margins: of the area under the curve, of which 0.5 is that of who can only guess, and of distances."""
Z = 1.645


def measure(sides: Sides, seed: int = 0) -> list[Shift]:
    """All of them; none for sides that have too few rows. What the model answers is compared as a whole where its
    inputs are vectors: for tables it adds little to the inputs."""
    found: list[Shift] = []
    if (table := _enough(sides.table)) is not None:
        shift = classifier.compare(table.reference, table.current, table.names, seed=seed)
        n, m = len(table.current), min(len(table.reference), max(classifier.RATIO * len(table.current), 500))
        found.append(_measured(shift, "", AUC, math.sqrt((n + m + 1) / (6 * n * m)), zero=0.5, most=1.0))
        if len(table.names) > 1:
            fitted = components.fit(table.reference, table.categorical, seed=seed)
            shift = components.compare(fitted, table.current, table.names)
            found.append(_measured(shift, "", DISTANCE, _distance_error(table, used=0.5)))
    for name, pair in sides.vectors.items():
        if (vector := _enough(pair)) is not None:
            shift = kernel.compare(vector.reference, vector.current, features=kernel.FEATURES, seed=seed)
            found.append(_measured(shift, name, DISTANCE))
    if sides.vectors:
        for name, pair in sides.decisions.items():
            if _enough(pair):
                missing = float(len(pair.values))
                before, now = (
                    np.nan_to_num(side[:, 0], nan=missing).astype(np.int64) for side in (pair.reference, pair.current)
                )
                shift = outputs.compare_classes(before, now, (*pair.values, "missing"))
                found.append(_measured(shift, name, DISTANCE, _distance_error(pair)))
        if (scores := _enough(sides.scores)) is not None:
            shift = outputs.compare(scores.reference, scores.current, scores.names)
            found.append(_measured(shift, "", DISTANCE, _distance_error(scores)))
    return found


def _enough(pair: Pair | None) -> Pair | None:
    return pair if pair is not None and min(len(pair.reference), len(pair.current)) >= LEAST else None


def _distance_error(pair: Pair, used: float = 1.0) -> float:
    return SPREAD * math.sqrt(1 / len(pair.current) + 1 / max(used * len(pair.reference), 1))


def _measured(
    shift: Shift, of: str, margin: float, error: float | None = None, zero: float = 0.0, most: float = math.inf
) -> Shift:
    return msgspec.structs.replace(
        shift,
        method=f"{shift.method} of {of}" if of else shift.method,
        margin=margin,
        zero=zero,
        low=None if error is None else max(shift.effect - Z * error, 0.0),
        high=None if error is None else min(shift.effect + Z * error, most),
    )


class Method(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one comparison: ln of its R and of its CUSUM, the windows since that was last at zero, and for how
    many windows it still counts as drifted without fresh evidence."""

    evidence: float = -math.inf
    sums: float = 0.0
    looks: int = 0
    drifted: int = 0


class ComparisonState(msgspec.Struct, frozen=True, kw_only=True):
    """By the name of the comparison."""

    methods: dict[str, Method] = {}

    @property
    def drifted(self) -> bool:
        """Whether any comparison counts as drifted: then later windows are not compared with what comes."""
        return any(each.drifted for each in self.methods.values())


class ComparisonEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """One comparison after a window: its evidence (ln, as a run length in windows), and whether it counts as
    drifted."""

    shift: Shift
    log_e: float
    drifted: bool


def evaluate(
    shifts: Sequence[Shift], state: ComparisonState, run_length: float
) -> tuple[tuple[ComparisonEvidence, ...], ComparisonState]:
    """Evaluate the comparisons of one window. `run_length`: windows between two false alarms, at least, on average. A
    comparison that cannot be made stays as it was."""
    methods = dict(state.methods)
    for one in shifts:
        before = methods.get(one.method, Method())
        evidence, sums, windows = accumulate(before.evidence, before.sums, before.looks, calibrated(one.p))
        drifted = max(before.drifted - 1, 0)
        methods[one.method] = Method(evidence=float(evidence), sums=float(sums), looks=int(windows), drifted=drifted)
    names = sorted(methods)
    logs = np.array([methods[name].evidence for name in names])
    blamed = {names[int(place)] for place in named(logs, run_length)}
    found: list[ComparisonEvidence] = []
    for one in shifts:
        method = methods[one.method]
        if one.method in blamed and one.material:
            methods[one.method] = Method(drifted=2 * method.looks + 1)
        drifted = methods[one.method].drifted > 0
        found.append(ComparisonEvidence(shift=one, log_e=method.evidence, drifted=drifted))
    return tuple(found), ComparisonState(methods=methods)
