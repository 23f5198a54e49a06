"""One look after another: evidence of drift that may be watched for ever, and who is to blame.

For each column and alternative a Shiryaev-Roberts statistic R ← (R + 1)·E; their weighted mean over alternatives is
the column's evidence, the mean over columns the model's. While nothing changes the model's evidence minus the
number of looks is a martingale, so the first time it reaches A comes after A looks on average or later, however the
columns hang together (Shin, Ramdas, Rinaldo, "E-detectors", 2024). A is what the operator states: looks per false
alarm, 2,160 for one a quarter with hourly looks. Columns are named by e-BH on their evidence (Wang, Ramdas 2022),
which needs no independence either.

An alarm needs both: evidence, and a named column whose effect's lower end is above its margin. Effects are those of
the rows since the leading alternative's CUSUM last stood at zero, which is where the change most likely began.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from argosy.monitoring.drift.effect import Effect, Margins, effects
from argosy.monitoring.drift.evidence import log_e
from argosy.monitoring.drift.geometry import Geometry
from argosy.profiles.layout import Floats, Ints

QUARTER = 2160.0


@dataclass(frozen=True)
class DetectorState:
    """What is remembered between looks, for D columns with A alternatives and C cells; leading axes may stand before.

    `base` (D, C) is what a window is compared with: the reference and all windows so far. `evidence` and `sums` (D,
    A) are the logs of R and of CUSUM; `recent` (D, A, C) the rows since `sums` last stood at zero, `expected` what
    the reference would have given for as many. `drifted` (D) tells for how many looks more a column counts as
    drifted without new evidence, `looks` (D, A) how many looks `recent` holds.
    """

    base: Floats
    evidence: Floats
    sums: Floats
    recent: Floats
    expected: Floats
    looks: Ints
    drifted: Ints


@dataclass(frozen=True)
class ColumnFinding:
    """One column at one look. `run_length`: its evidence, in looks that pass on average until as much comes by chance.

    `rows` and `looks` are those since the change most likely began, `effects` theirs, the most material first.
    `alarm` is true at the look that raises it, `drifted` until as much evidence as raised it has not come again for
    twice as long.
    """

    column: str
    run_length: float
    named: bool
    rows: int
    looks: int
    effects: tuple[Effect, ...]
    alarm: bool
    drifted: bool


@dataclass(frozen=True)
class Look:
    """The model at one look: its evidence as a run length in looks, and the columns, the most suspicious first."""

    run_length: float
    passed: bool
    findings: tuple[ColumnFinding, ...] = field(default=())

    @property
    def alarms(self) -> tuple[ColumnFinding, ...]:
        """Columns that raise an alarm now."""
        return tuple(finding for finding in self.findings if finding.alarm)


def start(where: Geometry, reference: Floats) -> DetectorState:
    """Before the first look. `reference` (…, D, C) are counts."""
    shape = (*reference.shape[:-1], where.weights.shape[-1])
    cells = (*shape, reference.shape[-1])
    return DetectorState(
        base=reference,
        evidence=np.full(shape, -np.inf),
        sums=np.zeros(shape),
        recent=np.zeros(cells),
        expected=np.zeros(cells),
        looks=np.zeros(shape, np.int64),
        drifted=np.zeros(shape[:-1], np.int64),
    )


def fold(
    where: Geometry, state: DetectorState, window: Floats, reference: Floats, base: Floats | None = None
) -> DetectorState:
    """One more window, counts (…, D, C). `base` is what evidence compares with where that is not all rows before,
    as for seasons; `reference` what effects are measured from. A column without rows is as it was."""
    n = window.sum(axis=-1)
    silent = (n == 0)[..., None]
    e = log_e(where, state.base if base is None else base, window, state.recent)
    evidence = np.logaddexp(0.0, state.evidence) + e
    goes_on = state.sums > 0
    sums = np.where(goes_on, state.sums, 0.0) + e
    kept = goes_on[..., None]
    fair = reference / np.maximum(reference.sum(axis=-1, keepdims=True), 1) * n[..., None]
    absorbed = np.where((state.drifted > 0)[..., None], 0.0, window)
    return DetectorState(
        base=state.base + absorbed,
        evidence=np.where(silent, state.evidence, evidence),
        sums=np.where(silent, state.sums, sums),
        recent=np.where(kept | silent[..., None], state.recent, 0.0) + window[..., None, :],
        expected=np.where(kept | silent[..., None], state.expected, 0.0) + fair[..., None, :],
        looks=np.where(silent, state.looks, np.where(goes_on, state.looks, 0) + 1),
        drifted=np.where(silent[..., 0], state.drifted, np.maximum(state.drifted - 1, 0)),
    )


def columns_evidence(where: Geometry, state: DetectorState) -> Floats:
    """ln of each column's evidence, (…, D)."""
    top = np.maximum(state.evidence.max(axis=-1, keepdims=True), -700.0)
    with np.errstate(divide="ignore"):
        return top[..., 0] + np.log(np.sum(where.weights * np.exp(state.evidence - top), axis=-1))


def model_evidence(columns: Floats) -> Floats:
    """ln of the model's evidence from its columns', along the last axis."""
    top = np.maximum(columns.max(axis=-1, keepdims=True), -700.0)
    with np.errstate(divide="ignore"):
        return top[..., 0] + np.log(np.mean(np.exp(columns - top), axis=-1))


def e_bh(columns: Floats, needed: float) -> Ints:
    """The k columns of largest evidence, for the largest k whose k-th has at least D·needed/k: indices, largest first.
    With e-values and 1/α for `needed`, at most a share α of those named is named falsely, on average."""
    order = np.argsort(-columns, kind="stable")
    least = np.log(len(columns) * needed) - np.log(np.arange(1, len(columns) + 1))
    passing = np.flatnonzero(columns[order] >= least)
    return order[: passing[-1] + 1] if len(passing) else order[:0]


def named(columns: Floats, run_length: float) -> Ints:
    """Columns to blame: those of `e_bh`, or the first one alone where only all together pass."""
    found = e_bh(columns, run_length)
    return found if len(found) else np.argsort(-columns, kind="stable")[:1]


def look(
    where: Geometry,
    state: DetectorState,
    window: Floats,
    reference: Floats,
    *,
    run_length: float = QUARTER,
    margins: Margins = Margins(),  # noqa: B008
    base: Floats | None = None,
) -> tuple[Look, DetectorState]:
    """Judge one window (D, C) of a model. `run_length`: looks between two false alarms, at least, on average."""
    before = state.drifted
    state = fold(where, state, window, reference, base)
    if not len(where.columns) or not window.sum():
        return Look(0.0, False), state
    logs = columns_evidence(where, state)
    total = float(model_evidence(logs))
    passed = total >= np.log(run_length)
    blamed = {int(column) for column in named(logs, run_length)} if passed else set[int]()
    findings = [
        _finding(where, state, column, float(logs[column]), column in blamed, reference, margins)
        for column in range(len(logs))
    ]
    renewed = [c for c, one in enumerate(findings) if one.named and any(effect.material for effect in one.effects)]
    state = _restart(state, renewed, [findings[c].looks for c in renewed])
    findings = [
        replace(one, alarm=c in renewed and not before[c], drifted=bool(state.drifted[c]))
        for c, one in enumerate(findings)
    ]
    return Look(_run(total), bool(passed), tuple(sorted(findings, key=lambda one: -one.run_length))), state


def _run(log: float) -> float:
    return float(np.exp(min(log, 700.0)))


def _finding(
    where: Geometry, state: DetectorState, c: int, log: float, blamed: bool, reference: Floats, margins: Margins
) -> ColumnFinding:
    leader = int(np.argmax(np.where(where.weights[c] > 0, state.sums[c], -np.inf)))
    recent, expected = state.recent[c, leader], state.expected[c, leader]
    share = expected / max(expected.sum(), 1.0)
    found = effects(where.columns[c], where.scores[c], share * reference[c].sum(), recent, margins)
    return ColumnFinding(
        column=where.columns[c].name,
        run_length=_run(log),
        named=blamed,
        rows=int(recent.sum()),
        looks=int(state.looks[c, leader]),
        effects=found,
        alarm=False,
        drifted=False,
    )


def _restart(state: DetectorState, columns: list[int], looks: list[int]) -> DetectorState:
    """After an alarm a column's evidence begins anew; it counts as drifted for twice the looks it took."""
    if not columns:
        return state
    evidence, sums, drifted = state.evidence.copy(), state.sums.copy(), state.drifted.copy()
    evidence[columns], sums[columns] = -np.inf, 0.0
    drifted[columns] = [2 * count + 1 for count in looks]
    return replace(state, evidence=evidence, sums=sums, drifted=drifted)
