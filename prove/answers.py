"""`python -m prove.answers`: what is served answers as its library does, on rows by which no conversion was decided;
writes docs/models.md.

Every estimator of scikit-learn that takes a matrix of numbers, XGBoost, LightGBM and CatBoost, also from their own
files, packaged with a sample of its training rows and without one; then 10,000 rows each, drawn with seeds and by means
of their own: values of other rows, noise of every size, neighbours of thresholds, limits of floats, missing and
infinite values. Labels must be equal, values within 1e-5; what the library refuses must be refused. A number beyond
1e100 may be refused where the library's own sums overflow, and one beyond FP32 where the model takes FP32. Exit status
1 for a row that differs, or below 100 estimators.
"""

import argparse
import json
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import msgspec
import numpy as np

from argosy.engines import Engine
from argosy.engines import load as load_engine
from argosy.engines.trees import sklearn as trees
from argosy.packaging import convert, examine
from argosy.packaging.compare import OVERFLOW
from argosy.packaging.domain import FLOAT32
from argosy.spec.errors import ArgosyError
from argosy.spec.matching import fit_inputs
from argosy.spec.package import Tolerance
from argosy.spec.tensor import tensor
from prove.document import put
from tests.engines.honest import boosted, catboosted, estimators

DOCUMENT = Path(__file__).parent.parent / "docs" / "models.md"
BEGIN, END = "<!-- models:begin -->", "<!-- models:end -->"
ROWS, LEAST = 10_000, 100
ODD = [np.nan, np.inf, -np.inf, 0.0, -0.0, 5e-324, 1e-40, 3.4028235e38, 3.5e38, 1e150, -1e200, 1.6e9, 1e12, 2.0**53 + 2]


@dataclass(frozen=True)
class Found:
    """How an estimator is served, over so many rows, of which some were refused by both and some differ."""

    name: str
    engine: str
    why: str
    rows: int
    refused: int
    different: int
    example: str = ""


FILES = {"xgboost": "m.ubj", "lightgbm": "m.txt", "catboost": "m.cbm"}
"""Library → its own format."""
ENGINES = {".joblib": "sklearn", ".ubj": "xgboost", ".txt": "lightgbm", ".cbm": "catboost"}


def packaged(estimator: Any, sample: Any, folder: Path, file: str = "m.joblib") -> tuple[Engine, str]:
    """The engine that a push of this file comes to, and the reason. Raises ArgosyError for a model that is not
    taken."""
    path = folder / file
    if path.suffix == ".joblib":
        joblib.dump(estimator, path)
    else:
        getattr(estimator, "booster_", estimator).save_model(str(path))
    if sample is not None:
        np.save(folder / "x.npy", sample)
    task = examine.Task(
        engine=ENGINES[path.suffix],
        weights=str(path),
        settings={},
        sample=str(folder / "x.npy") if sample is not None else "",
        tolerance=Tolerance(),
        into=str(folder),
        trusted=True,
    )
    task = msgspec.structs.replace(task, signature=examine.examine(task).signature)
    if task.engine not in examine.CONVERTED:
        return load_engine(task.engine, path, signature=task.signature, trusted=True), "its own engine"
    verdict, signature = convert.convert(task)
    if not verdict.converted:
        return load_engine(task.engine, path, signature=task.signature, trusted=True), verdict.reason
    return load_engine("onnx", folder / convert.MODEL, signature=signature), verdict.reason


def thresholds(estimator: Any, depth: int = 0) -> Iterator[float]:
    """Those of every tree inside, whatever its feature."""
    if type(estimator).__module__.startswith(("lightgbm.sklearn", "xgboost.sklearn")):
        form = trees.read(estimator)
        yield from form.threshold[form.feature >= 0].tolist()
    if hasattr(estimator, "tree_"):
        yield from estimator.tree_.threshold[estimator.tree_.children_left != -1].tolist()
    for stage in getattr(estimator, "_predictors", ()):
        for one in stage:
            yield from one.nodes["num_threshold"][one.nodes["is_leaf"] == 0].tolist()
    if depth < 4:
        for name in ("estimators_", "estimator_", "best_estimator_"):
            inside = getattr(estimator, name, [])
            for one in np.ravel(inside).tolist() if isinstance(inside, list | np.ndarray) else [inside]:
                yield from thresholds(one, depth + 1)


def rows_of(estimator: Any, x: Any, count: int, seed: int) -> Any:
    """Rows that no probe has: every second value is changed in one of six ways."""
    random = np.random.default_rng([20261126, seed])
    x = np.asarray(x, np.float64)
    rows = x[random.integers(0, len(x), count)].copy()
    way = random.integers(0, 10, rows.shape)
    other = x[random.integers(0, len(x), rows.shape), np.arange(x.shape[1])]
    rows = np.where(way == 0, other, rows)
    size = 10.0 ** random.uniform(-15, 2, rows.shape) * random.choice([-1, 1], rows.shape)
    rows = np.where(way == 1, rows * (1 + size), rows)
    rows = np.where(way == 2, rows + size, rows)
    rows = np.where(way == 3, np.nextafter(rows, random.choice([-np.inf, np.inf], rows.shape)), rows)
    if edges := list(thresholds(estimator)):
        near = random.choice(edges, rows.shape)
        single = near.astype(np.float32).astype(np.float64)
        beside = np.choose(
            random.integers(0, 5, rows.shape),
            [near, single, np.nextafter(near, -np.inf), np.nextafter(near, np.inf), near * (1 + size * 1e-6)],
        )
        rows = np.where(way == 4, beside, rows)
    odd = np.arange(count) >= 0.97 * count  # in one place, since `asked` halves
    places = random.integers(0, x.shape[1], count)
    rows[odd, places[odd]] = random.choice(ODD, int(odd.sum()))
    return rows


def asked(ask: Any, rows: Any) -> list[Any]:
    """An answer for each row, None where it is refused: asked for together, and in halves where one is refused."""
    try:
        answers = [np.asarray(one) for one in ask(rows)]
        return [tuple(one[place] for one in answers) for place in range(len(rows))]
    except Exception:  # libraries refuse with whatever their arithmetic raises
        if len(rows) == 1:
            return [None]
        half = len(rows) // 2
        return asked(ask, rows[:half]) + asked(ask, rows[half:])


def same(want: Any, got: Any) -> bool:
    """Whether a row was answered alike, or refused by both."""
    if want is None or got is None:
        return want is got
    return all(_close(np.ravel(one), np.ravel(other)) for one, other in zip(want, got, strict=False))


def _close(want: Any, got: Any) -> bool:
    if want.dtype.kind == "f":
        return bool(np.allclose(got.astype(float), want, rtol=1e-5, atol=1e-7, equal_nan=True))
    return [one.decode() if isinstance(one, bytes) else one for one in got.tolist()] == want.tolist()


def compared(
    name: str, estimator: Any, x: Any, count: int, seed: int, *, sampled: bool, file: str = "m.joblib"
) -> Found:
    """Package the estimator and compare it with itself. Raises ArgosyError for one that is not taken."""
    with tempfile.TemporaryDirectory() as folder:
        engine, why = packaged(estimator, x if sampled else None, Path(folder), file)
        rows = rows_of(estimator, x, count, seed)
        spec = engine.signature.inputs[0]
        names = [one.name for one in engine.signature.outputs]
        model = getattr(estimator, "booster_", estimator) if file.endswith(".txt") else estimator
        call = model.predict if hasattr(model, "predict") else model.transform

        def library(some: Any) -> list[Any]:
            first = call(some)
            first = np.asarray(first.toarray() if hasattr(first, "toarray") else first)
            found = [first.reshape(len(some), -1)]  # SparsePCA gives one row without its axis
            return [*found, estimator.predict_proba(some)] if "probabilities" in names else found

        want = asked(library, rows)

        def served(some: Any) -> list[Any]:
            fitted = fit_inputs(engine.signature, [tensor(spec.name, some.astype("f8"))])
            return engine.predict({one.name: one.array for one in fitted})

        got = asked(served, rows)
        huge = (np.abs(rows) > (FLOAT32 if spec.datatype == "FP32" else OVERFLOW)).any(axis=1)
        bad = [place for place in range(count) if not same(want[place], got[place])]
        bad = [place for place in bad if not (huge[place] and got[place] is None)]
        example = f"{rows[bad[0]].tolist()}: {want[bad[0]]} against {got[bad[0]]}" if bad else ""
        kind = "ONNX" if type(engine).__name__ == "OnnxEngine" else "native"
        engine.close()
    return Found(name, kind, why, count, sum(one is None for one in want), len(bad), example)


def matrices(step: int = 1) -> Iterator[tuple[str, Any, Any]]:
    """Estimators that take a matrix of numbers: one of each class."""
    known: set[str] = set()
    for name, model, x in [*estimators(step), *([] if step > 1 else [*boosted(), *catboosted()])]:
        kind = type(model).__name__
        numbers = isinstance(x, np.ndarray) and x.ndim == 2 and x.dtype.kind in "fi"
        if kind not in known and numbers and any(hasattr(model, one) for one in ("predict", "transform")):
            known.add(kind)
            yield name, model, x


def cases(step: int = 1) -> Iterator[tuple[str, Any, Any, str]]:
    """Each estimator as a pickle, and where its library has one, in its own format: name, estimator, rows, file."""
    for name, model, x in matrices(step):
        yield name, model, x, "m.joblib"
        if own := FILES.get(type(model).__module__.partition(".")[0]):
            yield f"{name}, as {own[1:]}", model, x, own


def lines(found: list[Found]) -> Iterator[str]:
    """The table of the document."""
    yield "| estimator | served as | why |"
    yield "| --- | --- | --- |"
    for one in found:
        why = "" if one.engine == "ONNX" else one.why.partition(": ")[0].replace("|", "/")[:90]
        yield f"| {re.sub(r'-[0-9]+$', '', one.name)} | {one.engine} | {why} |"


def main() -> None:
    """Compare all, print what differs, write the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--json", action="store_true", help="print what was found, and write nothing")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    found: list[Found] = []
    differing = 0
    with np.errstate(all="ignore"):
        for seed, (name, model, x, file) in enumerate(cases()):
            for sampled in (True, False):
                try:
                    one = compared(name, model, x, options.rows, seed, sampled=sampled, file=file)
                except ArgosyError as error:  # it wants a sample, or is nothing that is served
                    print(f"{name}: not taken: {error}", file=sys.stderr)
                    continue
                differing += one.different
                if one.different:
                    print(f"{name} ({one.engine}): {one.different} of {one.rows} rows differ: {one.example}")
                if sampled:
                    found.append(one)
    if options.json:
        print(json.dumps([one.__dict__ for one in found]))
    else:
        count = sum(one.engine == "ONNX" for one in found)
        head = f"{len(found)} estimators, {count} of them converted, {options.rows} rows each: {differing} rows differ."
        put(DOCUMENT, BEGIN, END, "\n".join([head, "", *lines(found)]))
        print(head)
    sys.exit(1 if differing or len(found) < LEAST else 0)


if __name__ == "__main__":
    main()
