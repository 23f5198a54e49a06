"""Evidence of drift that may be read after every window, and the columns to blame.

For each column and alternative a Shiryaev-Roberts statistic; their weighted mean over alternatives is the column's
evidence, the mean over columns the model's. While nothing changes the model's evidence minus the number of windows is
a martingale, however the columns depend on one another (`eprocess`). Columns are named by e-BH on their evidence.

An alarm needs both: evidence, and a named column whose effect's lower end is above its margin. Effects are those of
the rows since the leading alternative's CUSUM was last at zero, which is where the change most likely began.

The budget is one false alarm of a model in a quarter. It is shared by `SHARES`: all rows column by column, segments
column by column, and whole rows. Each part alarms where its evidence reaches the run length of its share. The parts'
evidence, weighted by their shares, is at least the model's run length then; so the model's first false alarm comes no
sooner, on average, than if all were watched as one. A tenth of the budget costs evidence of a factor of ten, which a
window of some more rows gives.
"""

import zlib
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import msgspec
import numpy as np

from argosy.monitoring.drift.effect import Effect, Margins, effects
from argosy.monitoring.drift.evidence import log_e
from argosy.monitoring.drift.geometry import Geometry
from argosy.monitoring.eprocess import WINDOWS_PER_ALARM, accumulate, mixture, named
from argosy.profiles.cells import Floats, Ints
from argosy.spec.errors import InvalidArgument

SHARES = {"columns": 0.8, "segments": 0.1, "rows": 0.1}
QUARTER = 90 * 86400
MAX_BYTES = 1 << 30


def run_length(part: Literal["columns", "segments", "rows"], every: float, of: int = 1) -> float:
    """In windows of `every` so many seconds, for one of `of` equal pieces of a part."""
    return QUARTER / every / SHARES[part] * max(of, 1)


@dataclass(frozen=True)
class DetectorState:
    """For D columns with A alternatives and C cells; there may be leading axes.

    `base` (D, C) is what a window is compared with: the reference and all windows so far. `evidence` and `sums` (D,
    A) are ln of R and of CUSUM; `recent` (D, A, C) the rows since `sums` was last at zero, `looks` (D, A) of how many
    windows, `expected` what the reference would have given for as many. `drifted` (D): for how many windows more a
    column counts as drifted without new evidence.
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
    """One column after one window. `run_length`: its evidence, in windows until as much comes by chance, on average.

    `rows` and `windows` are those since the change most likely began, `effects` theirs, the most material first.
    `alarm` is true for the window that raises it, `drifted` until as much evidence as raised it has not come again for
    twice as long.
    """

    column: str
    run_length: float
    named: bool
    rows: int
    windows: int
    effects: tuple[Effect, ...]
    alarm: bool = False
    drifted: bool = False


@dataclass(frozen=True)
class Evaluation:
    """The model after one window: its evidence as a run length, and the columns, the most suspicious first."""

    run_length: float
    findings: tuple[ColumnFinding, ...] = field(default=())

    @property
    def alarms(self) -> tuple[ColumnFinding, ...]:
        """Columns that raise an alarm now."""
        return tuple(finding for finding in self.findings if finding.alarm)


def start(where: Geometry, reference: Floats) -> DetectorState:
    """Before the first window. `reference` (…, D, C) are counts."""
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


def add_window(
    where: Geometry, state: DetectorState, window: Floats, reference: Floats, base: Floats | None = None
) -> DetectorState:
    """One more window, counts (…, D, C). `base` is what evidence compares with where that is not all rows before,
    as for seasons; `reference` what effects are measured from. A column without rows is as it was."""
    n = window.sum(axis=-1)
    empty = (n == 0)[..., None]
    e = log_e(where, state.base if base is None else base, window, state.recent)
    evidence, sums, windows = accumulate(state.evidence, state.sums, state.looks, e)
    going_on = (state.sums > 0)[..., None] | empty[..., None]
    fair = reference / np.maximum(reference.sum(axis=-1, keepdims=True), 1) * n[..., None]
    absorbed = np.where((state.drifted > 0)[..., None], 0.0, window)
    return DetectorState(
        base=state.base + absorbed,
        evidence=np.where(empty, state.evidence, evidence),
        sums=np.where(empty, state.sums, sums),
        recent=np.where(going_on, state.recent, 0.0) + window[..., None, :],
        expected=np.where(going_on, state.expected, 0.0) + fair[..., None, :],
        looks=np.where(empty, state.looks, windows),
        drifted=np.where(empty[..., 0], state.drifted, np.maximum(state.drifted - 1, 0)),
    )


def evaluate(
    where: Geometry,
    state: DetectorState,
    window: Floats,
    reference: Floats,
    *,
    run_length: float = WINDOWS_PER_ALARM,
    margins: Margins = Margins(),  # noqa: B008
    base: Floats | None = None,
) -> tuple[Evaluation, DetectorState]:
    """Evaluate one window (D, C) of a model. `run_length`: windows between two false alarms, at least, on average."""
    before = state.drifted
    state = add_window(where, state, window, reference, base)
    if not len(where.columns) or not window.sum():
        return Evaluation(0.0), state
    logs = mixture(state.evidence, where.weights)
    blamed = set(named(logs, run_length).tolist())
    findings: list[ColumnFinding] = []
    evidence, sums, drifted = state.evidence.copy(), state.sums.copy(), state.drifted.copy()
    for c, column in enumerate(where.columns):
        leader = int(np.argmax(np.where(where.weights[c] > 0, state.sums[c], -np.inf)))
        recent, expected = state.recent[c, leader], state.expected[c, leader]
        share, windows = expected / max(expected.sum(), 1.0), int(state.looks[c, leader])
        found = effects(column, where.scores[c], share * reference[c].sum(), recent, margins)
        renewed = c in blamed and any(effect.material for effect in found)
        if renewed:
            evidence[c], sums[c], drifted[c] = -np.inf, 0.0, 2 * windows + 1
        findings.append(
            ColumnFinding(
                column=column.name,
                run_length=_run_length(logs[c]),
                named=c in blamed,
                rows=int(recent.sum()),
                windows=windows,
                effects=found,
                alarm=renewed and not before[c],
                drifted=bool(drifted[c]),
            )
        )
    state = replace(state, evidence=evidence, sums=sums, drifted=drifted)
    return Evaluation(_run_length(mixture(logs)), tuple(sorted(findings, key=lambda one: -one.run_length))), state


def _run_length(log: Floats) -> float:
    return float(np.exp(min(float(log), 700.0)))


class _Arrays(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The raw bytes of arrays, by name."""

    arrays: dict[str, bytes]


def dump(state: DetectorState) -> bytes:
    """The state as compressed bytes; most cells are empty."""
    arrays = {name: np.ascontiguousarray(getattr(state, name)).tobytes() for name in DetectorState.__dataclass_fields__}
    return zlib.compress(msgspec.msgpack.encode(_Arrays(arrays)), 1)


def load(where: Geometry, reference: Floats, data: bytes) -> DetectorState:
    """The state that was dumped for these columns. Raises InvalidArgument where it is broken or of other columns."""
    blank = start(where, reference)
    try:
        stored = msgspec.msgpack.decode(zlib.decompressobj().decompress(data, MAX_BYTES), type=_Arrays)
    except (zlib.error, msgspec.DecodeError) as error:
        raise InvalidArgument(f"this drift state cannot be read: {error}") from error
    arrays: dict[str, Any] = {}
    for name in DetectorState.__dataclass_fields__:
        like = getattr(blank, name)
        raw = stored.arrays.get(name, b"")
        if len(raw) != like.nbytes:
            raise InvalidArgument(
                f"this drift state holds {len(raw)} bytes of '{name}' where {like.nbytes} are needed: it is of another "
                "model or reference; begin anew without it"
            )
        arrays[name] = np.frombuffer(raw, like.dtype).reshape(like.shape).copy()
    return DetectorState(**arrays)
