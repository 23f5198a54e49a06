"""Comparisons of whole rows, look after look: evidence that may be watched for ever. Pure.

A comparison's p becomes an e-value by the mixture of all calibrators κ·p^(κ−1) over κ from 0 to 1 (Vovk, Wang,
"E-values", 2021): (1 − p + p·ln p) / (p·ln² p), whose mean is 1 whatever is compared. As column by column
(`drift.detector`), e-values add up to Shiryaev-Roberts statistics R ← (R + 1)·e, one for each comparison, whose mean is
the evidence of whole rows; an alarm needs it to reach the run length, and a comparison to blame whose effect matters.

Each window is compared with rows drawn from all that came before it. Given all rows together, which of them are the
last window's is a matter of chance alone where nothing changes, whatever earlier comparisons found; so the mean of R
after t looks is at most t. The e-detectors of martingales say the same of the first time that R is large; that
step holds here in the limit of many rows, as it does for columns (`drift.evidence`).
"""

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from argosy.monitoring.drift.detector import model_evidence, named
from argosy.monitoring.multivariate.measure import Measured

LEAST_P = 1e-12
"""No approximation of a null can be trusted further out."""


class Method(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of one comparison: ln of its R and of its CUSUM, the looks since that last stood at zero, and
    for how many looks it still counts as drifted without fresh evidence."""

    evidence: float = -math.inf
    sums: float = 0.0
    looks: int = 0
    drifted: int = 0


class ComparisonState(msgspec.Struct, frozen=True, kw_only=True):
    """By subject."""

    methods: dict[str, Method] = {}

    @property
    def drifted(self) -> bool:
        """Whether any comparison counts as drifted: then what comes is no part of what later windows are compared
        with."""
        return any(each.drifted for each in self.methods.values())


class ComparisonEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """One comparison at one look: its evidence (ln, as a run length in looks), and whether it counts as drifted."""

    measured: Measured
    log_e: float
    drifted: bool


def calibrated(p: float) -> float:
    """ln of the e-value of a p."""
    p = min(max(p, LEAST_P), 1.0)
    if 1 - p < 1e-4:
        return math.log(0.5)
    log = math.log(p)
    return math.log((1 - p + p * log) / (p * log * log))


def look(
    measured: Sequence[Measured], state: ComparisonState, run_length: float
) -> tuple[tuple[ComparisonEvidence, ...], ComparisonState]:
    """Judge the comparisons of one window. `run_length`: looks between two false alarms, at least, on average. A
    comparison that cannot be made stays as it was."""
    methods = dict(state.methods)
    for one in measured:
        methods[one.subject] = _fold(methods.get(one.subject, Method()), calibrated(one.p))
    names = sorted(methods)
    logs = np.array([methods[name].evidence for name in names])
    passed = bool(len(logs)) and float(model_evidence(logs)) >= math.log(run_length)
    blamed = {names[int(place)] for place in named(logs, run_length)} if passed else set[str]()
    verdicts: list[ComparisonEvidence] = []
    for one in measured:
        method = methods[one.subject]
        if one.subject in blamed and one.material:
            renewed = Method(drifted=2 * method.looks + 1)
            methods[one.subject] = renewed
        verdicts.append(
            ComparisonEvidence(measured=one, log_e=method.evidence, drifted=methods[one.subject].drifted > 0)
        )
    return tuple(verdicts), ComparisonState(methods=methods)


def _fold(before: Method, log: float) -> Method:
    goes_on = before.sums > 0
    return Method(
        evidence=float(np.logaddexp(0.0, before.evidence)) + log,
        sums=(before.sums if goes_on else 0.0) + log,
        looks=(before.looks if goes_on else 0) + 1,
        drifted=max(before.drifted - 1, 0),
    )
