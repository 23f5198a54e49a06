"""How a model answers the test rows, and how long one of them takes, beside its parent: jobs of a child process."""

import time
from pathlib import Path

import msgspec
import numpy as np

from argosy.engines import Engine, load
from argosy.packaging import golden
from argosy.packaging.compare import predict
from argosy.packaging.optimize import gate
from argosy.protocol import tensorfile
from argosy.spec.package import OptimizationTry
from argosy.spec.signature import Signature
from argosy.spec.tensor import Array, Tensor

WANTED, ANSWERS = "wanted.oip", "answers.oip"
PAIRS, SECONDS = (30, 300), 2.0
"""Rows that both models are asked for in turns, at least and at most; the seconds after which the least will do."""
FEW = 200
"""Rows by which a model is judged that gains too little."""


class Trial(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which model, of which parent, with which rows; the folder where the parent's answers are."""

    weights: str
    model: str
    signature: Signature
    rows: str
    into: str
    min_agreement: float = 0.99
    min_speedup: float = 1.2


class Measured(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The figures of a try; and by how much a number differs where a row is answered alone: int8 amplifies rounding."""

    figures: OptimizationTry
    rounding: float


def answer(trial: Trial) -> int:
    """Write what `model` gives for the rows, every output. Returns how many rows there are."""
    engine, rows = _engine(trial.model, trial.signature), tensorfile.read(Path(trial.rows))
    feeds, specs = {each.name: each.array for each in rows}, engine.signature.every_output
    arrays = golden.answers(engine, rows) if engine.signature.on_request else predict(engine, feeds)
    named = [Tensor(spec.name, spec.datatype, array) for spec, array in zip(specs, arrays, strict=True)]
    tensorfile.write(Path(trial.into) / ANSWERS, named)
    return len(arrays[0])


def measure(trial: Trial) -> Measured:
    """The figures of one model; `rejected` where its answers are none. One that is too slow in any case is asked for
    fewer rows."""
    other, feeds = _engine(trial.model, trial.signature), _feeds(trial.rows)
    times, alone = _times(_engine(trial.weights, trial.signature), other, feeds)
    speedup = float(np.median(times[:, 0] / times[:, 1]))
    most = None if speedup >= trial.min_speedup else FEW
    want = [each.array[:most] for each in tensorfile.read(Path(trial.into) / WANTED)][: len(other.signature.outputs)]
    got = predict(other, {name: array[:most] for name, array in feeds.items()})
    specs = other.signature.outputs
    found = gate.agree(specs, want, got)
    merged = [array[: len(one)] for array, one in zip(got, alone, strict=True)]
    alone = [array[: len(one)] for array, one in zip(alone, merged, strict=True)]
    broken = found.broken
    if not broken and (apart := gate.agree(specs, merged, alone)).share < trial.min_agreement:
        broken = f"rows answered alone agree with those answered together on {apart.share:.2%}"
    floats = [np.abs(one - two).max() for one, two in zip(merged, alone, strict=True) if one.dtype.kind == "f"]
    medians = np.median(times, axis=0) * 1000
    figures = OptimizationTry(
        recipe=Path(trial.model).stem,
        agreement=found.share,
        interval=found.interval,
        worst=found.worst,
        worst_class=found.worst_class,
        parent_ms=float(medians[0]),
        ms=float(medians[1]),
        speedup=speedup,
        size=Path(trial.model).stat().st_size,
        rejected=broken,
    )
    return Measured(figures=figures, rounding=float(np.nan_to_num(max(floats, default=0.0))))


def _engine(path: str, signature: Signature) -> Engine:
    return load("onnx", Path(path), signature=signature, threads=1)


def _feeds(path: str) -> dict[str, Array]:
    return {each.name: each.array for each in tensorfile.read(Path(path))}


def _times(first: Engine, second: Engine, feeds: dict[str, Array]) -> tuple[Array, list[Array]]:
    """Seconds of both for one row, [pairs, 2], and what the second answers: in turns, and each first every other time,
    so that whatever else the machine does falls on both."""
    count = min(PAIRS[1], len(next(iter(feeds.values()))))
    engines, found, end = (first, second), list[tuple[float, float]](), time.monotonic() + SECONDS
    answers: list[list[Array]] = []
    for pair in range(-3, count):
        row = {name: array[max(pair, 0) : max(pair, 0) + 1] for name, array in feeds.items()}
        took = [0.0, 0.0]
        for place in (0, 1) if pair % 2 else (1, 0):
            begun = time.perf_counter()
            answer = engines[place].predict(row)
            took[place] = time.perf_counter() - begun
            if place and pair >= 0:
                answers.append(answer)
        if pair >= 0:
            found.append((took[0], took[1]))
        if len(found) >= PAIRS[0] and time.monotonic() > end:
            break
    return np.array(found), [np.concatenate(each) for each in zip(*answers, strict=True)]
