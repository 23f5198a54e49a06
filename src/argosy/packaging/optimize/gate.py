"""Whether an optimized model may take the place of its parent: figures of a try → verdict. Pure."""

from collections.abc import Sequence

import msgspec
import numpy as np

from argosy.spec.package import OptimizationTry
from argosy.spec.signature import TensorSpec
from argosy.spec.tensor import Array

CLASS_ROWS = 20
"""Test rows of a class from which on its agreement counts; of fewer, one row would decide."""
Z = 1.96
"""95 % confidence."""


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """What a try must reach."""

    min_agreement: float = 0.99
    min_speedup: float = 1.2
    worst_class: float = 0.8


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """How far two models agree on the test rows. `broken` says what is no answer at all."""

    share: float
    interval: tuple[float, float] | None = None
    worst: float | None = None
    worst_class: str = ""
    broken: str = ""


def agree(specs: Sequence[TensorSpec], want: Sequence[Array], got: Sequence[Array]) -> Agreement:
    """The least agreement among the outputs: the top class of probabilities and of outputs with names of classes;
    equality of what is no float; else the share of the variance that is kept."""
    found: list[Agreement] = []
    for spec, one, other in zip(specs, want, got, strict=True):
        if one.shape != other.shape:
            return Agreement(share=0.0, broken=f"'{spec.name}' has shape {list(other.shape)}, not {list(one.shape)}")
        if other.dtype.kind == "f" and not (whole := np.isfinite(other).reshape(len(other), -1).all(axis=1)).all():
            broken = f"'{spec.name}' is NaN or infinite on {int((~whole).sum())} of {len(other)} rows"
            return Agreement(share=0.0, broken=broken)
        found.append(_of_output(spec, one, other))
    return min(found, key=lambda each: (each.share, 1.0 if each.worst is None else each.worst))


def _of_output(spec: TensorSpec, want: Array, got: Array) -> Agreement:
    if _is_classes(spec, want):
        return _shares(want.argmax(axis=1), got.argmax(axis=1), spec.classes)
    if want.dtype.kind != "f":
        flat = want.reshape(len(want), -1), got.reshape(len(got), -1)
        if flat[0].shape[1] == 1:
            return _shares(flat[0][:, 0], flat[1][:, 0], spec.classes)
        same = int((flat[0] == flat[1]).all(axis=1).sum())
        return Agreement(share=same / len(want), interval=interval(same, len(want)))
    wide, other = want.astype("f8"), got.astype("f8")
    spread, lost = float(((wide - wide.mean(axis=0)) ** 2).sum()), float(((wide - other) ** 2).sum())
    return Agreement(share=max(0.0, 1 - lost / spread) if spread else float(lost == 0))


def _is_classes(spec: TensorSpec, want: Array) -> bool:
    if want.dtype.kind != "f" or want.ndim != 2 or want.shape[1] < 2:
        return False
    sums = want.astype("f8").sum(axis=1)
    return (
        spec.semantic == "probability" or bool(spec.classes) or bool((want >= 0).all() and (abs(sums - 1) < 1e-2).all())
    )


def _shares(want: Array, got: Array, names: Sequence[str]) -> Agreement:
    same = np.asarray(want == got, dtype=bool)
    worst: list[tuple[float, str]] = []
    values, counts = np.unique(want, return_counts=True)
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        if count >= CLASS_ROWS:
            name = names[value] if names and isinstance(value, int) and value < len(names) else value
            label = name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
            worst.append((float(same[want == value].mean()), label))
    least, label = min(worst, default=(None, ""))
    right = int(same.sum())
    return Agreement(share=right / len(same), interval=interval(right, len(same)), worst=least, worst_class=label)


def interval(right: int, rows: int) -> tuple[float, float]:
    """Wilson's interval of a share, which at 100 of 100 rows does not claim certainty, as a bootstrap would."""
    share, square = right / rows, Z * Z / rows
    middle = (share + square / 2) / (1 + square)
    half = Z * ((share * (1 - share) / rows + square / (4 * rows)) ** 0.5) / (1 + square)
    return (0.0 if right == 0 else middle - half), (1.0 if right == rows else middle + half)


def judge(gate: Gate, found: OptimizationTry) -> str:
    """Why a try that was measured is rejected: every reason; empty where it passes."""
    agreement = found.agreement or 0.0
    reasons = [
        f"agrees on {agreement:.2%}, below {gate.min_agreement:.2%}" if agreement < gate.min_agreement else "",
        f"class {found.worst_class} agrees on {found.worst:.1%}, below {gate.worst_class:.1%}"
        if found.worst is not None and found.worst < gate.worst_class
        else "",
        f"{found.speedup:.2f} x as fast, below {gate.min_speedup:g} x" if found.speedup < gate.min_speedup else "",
    ]
    return "; ".join(filter(None, reasons))


def winner(tries: Sequence[OptimizationTry]) -> OptimizationTry | None:
    """The fastest of those that passed; of equally fast ones the first."""
    return max((each for each in tries if not each.rejected), key=lambda each: each.speedup, default=None)
