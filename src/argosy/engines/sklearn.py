"""scikit-learn estimators, from skops, joblib or pickle files, which are loaded under the allow-list of `allow`.

Earlier packages have the settings `trusted_pickle` and `trusted_types`. They are accepted, and trust nothing: whether
a file is trusted is the caller's to say.
"""

import contextlib
import importlib
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec
import numpy as np

from argosy.engines import categories, unpickle
from argosy.engines.base import Loading, Loose, check_settings, conform, require, rows_of, short
from argosy.engines.categories import Categories, Coder
from argosy.engines.frames import column, frame, strings
from argosy.engines.probe import complete, examples, same
from argosy.spec.errors import ArgosyError, BadPackage, InvalidArgument
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import Array, datatype_of


class SklearnEngine(Loose):
    """A fitted estimator: `label` and `probabilities` of a classifier, `prediction`, `label` of a clusterer,
    `transformed`, and whatever else it can say on request (`FURTHER`). Python holds the GIL while it works."""

    def __init__(self, estimator: Any, signature: Signature) -> None:
        self._estimator = estimator
        self._clusters = _is("clusterer", estimator)
        self._method = _method(estimator)
        self.use(signature)

    def use(self, signature: Signature) -> None:
        super().use(signature)
        wanted = {spec.name for spec in signature.outputs}
        self._scores = hasattr(self._estimator, "predict_proba") and (not wanted or "probabilities" in wanted)
        if len(signature.inputs) == 1 and signature.inputs[0].columns == _names(self._estimator):
            forget_names(self._estimator)
        self._frame = bool(_names(self._estimator)) or len(signature.inputs) > 1
        known, strict = categories_of(self._estimator)
        single = len(signature.inputs) == 1 and bool(signature.inputs[0].columns)
        self._coder = Coder(signature.inputs, known, "FP64", strict=strict) if known and not single else None

    def run(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        rows = self._rows(inputs)
        found = self._answers(self._method, CALLS[self._method], rows)
        if self._scores and self._method == "label":
            scores = self._answers("probabilities", "predict_proba", rows)
            found |= scores if "probabilities" in scores else {}
        return found

    def more(self, inputs: Mapping[str, Array], names: Sequence[str]) -> list[Array]:
        rows, found = self._rows(inputs), dict[str, Array]()
        for output in dict.fromkeys(_PLACE.sub("", name) for name in names):
            found |= self._answers(output, FURTHER[output], rows)
        count = rows_of(inputs) if self.signature.batched else None
        return [conform(spec, found.get(spec.name), count) for spec in self.signature.chosen(names)]

    def further(self, given: Mapping[str, Array]) -> tuple[TensorSpec, ...]:
        """The outputs on request: what the estimator says of rows, of each as it does alone."""
        skipped = {spec.name for spec in self.signature.outputs} | {"transformed" if self._clusters else "distances"}
        found: list[TensorSpec] = []
        pair, first, second = (
            self._rows({name: array[at] for name, array in given.items()}) for at in ([0, -1], [0], [-1])
        )
        for output, method in FURTHER.items():
            if output in skipped or method == CALLS[self._method]:
                continue
            with contextlib.suppress(ArgosyError):
                both, one, two = (self._answers(output, method, rows) for rows in (pair, first, second))
                found += [
                    TensorSpec(name=name, datatype=datatype_of(array), shape=(-1, *array.shape[1:]), optional=True)
                    for name, array in both.items()
                    if array.dtype.kind in "fiu" and same(array, one[name], two[name])
                ]
        return tuple(found)

    def _answers(self, output: str, method: str, rows: Any) -> dict[str, Array]:
        """What a method of the estimator gives, by name: `output`, or `output_0`, … of a list."""
        try:
            value: Any = getattr(self._estimator, method)(rows)
            if method == "predict_proba" and type(value) is list:  # of several targets
                return {f"{output}_{place}": each for place, each in enumerate(cast("list[Array]", value))}
            if method == "kneighbors":
                return dict(zip(NEIGHBOURS, value, strict=True))
            if hasattr(value, "toarray"):
                value = value.toarray()
            answer = value.to_numpy() if hasattr(value, "to_numpy") else np.asarray(value)
            if method == "transform" and answer.ndim == 1:  # SparsePCA gives one row without its axis
                answer = answer.reshape(len(rows), -1)
        except ArgosyError:
            raise
        except Exception as error:
            raise InvalidArgument(f"the estimator refused the input: {short(error)}") from None
        return {output: answer}

    def _rows(self, inputs: Mapping[str, Array]) -> Any:
        specs = self.signature.inputs
        if self._frame:
            rows = frame(specs, inputs)
            return self._coder.typed(rows, inputs) if self._coder else rows
        array = inputs[specs[0].name]
        if specs[0].datatype == "BYTES":
            array = column(specs[0], array) if array.shape[1:] in ((), (1,)) else array
            return strings(specs[0].name, array, nullable=specs[0].nullable)
        return array.reshape(-1, 1) if array.ndim == 1 else array


CALLS = {
    "label": "predict",
    "prediction": "predict",
    "transformed": "transform",
    "score_samples": "score_samples",
    "distances": "kneighbors",
}
"""Name of the first output → the estimator's method."""
NEIGHBOURS = ("distances", "indices")
"""The outputs of `kneighbors`."""
FURTHER = {
    "probabilities": "predict_proba",
    "decision_function": "decision_function",
    "score_samples": "score_samples",
    "distances": "transform",
    "transformed": "transform",
}
"""Name of an output on request → the estimator's method. What a clusterer transforms to are distances to its clusters;
the probabilities of a classifier with several targets are `probabilities_0`, …"""
_PLACE = re.compile(r"_\d+$")


BOOSTERS = {"xgboost.core": "model.ubj", "lightgbm.basic": "model.txt"}
"""Modules of boosters, which are no estimators; the file that each is served from."""


def load(given: Loading) -> SklearnEngine:
    """Load an estimator. Numeric libraries get `threads`; the estimator's own worker pools are switched off."""
    path, signature, settings, threads, sample, trusted = given
    check_settings(settings, trusted_pickle=bool, trusted_types=str)
    require("sklearn", "sklearn", f"the scikit-learn model {path.name}")
    estimator = unpickle.load(path, trusted=trusted)
    if file := BOOSTERS.get(type(estimator).__module__):
        raise BadPackage(f"{path.name} holds a bare Booster: save it with save_model('{file}'), and push that")
    try:
        if not any(callable(getattr(estimator, call, None)) for call in CALLS.values()):
            raise BadPackage(f"{path.name} holds {_described(estimator, path.name)}")
        _limit_threads(estimator, threads)
        if signature is not None and signature.outputs:
            return SklearnEngine(estimator, signature)
        inputs = signature.inputs if signature is not None else _inputs(estimator)
        engine = SklearnEngine(estimator, Signature(inputs=inputs, outputs=(), batched=False))
        found = complete(inputs, engine.run, sample)
        outputs = tuple(_with_classes(spec, estimator) for spec in found.outputs)
        engine.use(msgspec.structs.replace(found, outputs=outputs))
        if found.batched:
            further = engine.further(sample if sample is not None else examples(inputs))
            engine.use(msgspec.structs.replace(engine.signature, on_request=further))
        return engine
    except ArgosyError:
        raise
    except Exception as error:  # attributes that are not there, or of another kind
        what = f"{type(error).__name__}: {short(error)}"
        raise BadPackage(f"{path.name} holds a broken {type(estimator).__name__}: {what}") from None


def _described(value: Any, name: str) -> str:
    """What a pickle holds that is no estimator, and how to save the one that is in it."""
    found = f"a {type(value).__name__}, which has no method of {', '.join(dict.fromkeys(CALLS.values()))}"
    parts = cast("dict[Any, Any]", value) if isinstance(value, dict) else {}
    if isinstance(value, list | tuple):
        parts = dict(enumerate(cast("list[Any]", value)))
    if key := next((repr(key) for key, part in parts.items() if hasattr(part, "predict")), ""):
        found += f". Save the estimator in it:  joblib.dump(joblib.load('{name}')[{key}], 'estimator.joblib'),  "
        found += "as a Pipeline if it needs the rest, or push a Python class"
    return found


def _with_classes(spec: TensorSpec, estimator: Any) -> TensorSpec:
    """The output with the names of the classes that its columns stand for."""
    classes: Any = getattr(estimator, "classes_", None)
    if spec.name != "probabilities" or spec.shape[1:] != getattr(classes, "shape", None):
        return spec
    return msgspec.structs.replace(spec, classes=tuple(str(name) for name in classes.tolist()))


def _limit_threads(estimator: Any, threads: int) -> None:
    """A worker pool for every request costs more than it saves: `n_jobs` becomes 1; BLAS and OpenMP get `threads`."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(threads)
    if not hasattr(estimator, "get_params"):
        return
    jobs = {
        key: 1 for key, value in estimator.get_params().items() if key.endswith("n_jobs") and value not in (None, 1)
    }
    if jobs:
        estimator.set_params(**jobs)


def _method(estimator: Any) -> str:
    if not callable(getattr(estimator, "predict", None)):
        known = ("transformed", "score_samples", "distances")
        return next((name for name in known if callable(getattr(estimator, CALLS[name], None))), "transformed")
    label = _is("classifier", estimator) or _is("clusterer", estimator) or hasattr(estimator, "classes_")
    return "label" if label else "prediction"


def _is(kind: str, estimator: Any) -> bool:
    """Whether scikit-learn takes it for a `classifier`, or a `clusterer`."""
    base: Any = require("sklearn.base", "sklearn", "a scikit-learn model")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return bool(getattr(base, f"is_{kind}")(estimator))
        except AttributeError:  # a class of somebody else's, without scikit-learn's bases
            return getattr(estimator, "_estimator_type", "") == kind


def _inputs(estimator: Any) -> tuple[TensorSpec, ...]:
    """An input for each column where the estimator knows categories of pandas; else one FP64 matrix, where it says how
    wide and nothing in it was trained on strings."""
    known, _ = categories_of(estimator)
    if known and set(known) <= set(names := _names(estimator)):
        return categories.inputs(names, known, "FP64")
    width = getattr(estimator, "n_features_in_", 0)  # 0 is what CatBoost says after a pickle
    if not width or _knows_strings(estimator):
        raise InvalidArgument("this estimator does not say what it was trained on: give a sample with --sample")
    return (TensorSpec(name="x", datatype="FP64", shape=(-1, int(width)), columns=_names(estimator)),)


def categories_of(estimator: Any) -> tuple[Categories, bool]:
    """The categories of the XGBoost or LightGBM model that is the estimator, or is inside it; and whether it refuses
    others."""
    root = type(estimator).__module__.partition(".")[0]
    if root == "lightgbm":
        booster = getattr(estimator, "booster_", estimator)
        return importlib.import_module("argosy.engines.lightgbm").categories_of(booster), False
    if root == "xgboost":
        booster = estimator.get_booster() if hasattr(estimator, "get_booster") else estimator
        return importlib.import_module("argosy.engines.xgboost").categories_of(booster), True
    for inner in _inside(estimator):
        known, strict = categories_of(inner)
        if known:
            return known, strict
    return {}, False


def _inside(estimator: Any) -> list[Any]:
    """The fitted estimators that answer for this one."""
    steps: list[Any] = [step for _, step in getattr(estimator, "steps", ())][-1:]
    several: list[Any] = [*getattr(estimator, "calibrated_classifiers_", ()), *getattr(estimator, "estimators_", ())]
    names = ("best_estimator_", "estimator_", "estimator", "final_estimator_", "regressor_")
    return [*steps, *several, *(getattr(estimator, name) for name in names if hasattr(estimator, name))]


def _names(estimator: Any) -> tuple[str, ...]:
    return tuple(str(name) for name in getattr(estimator, "feature_names_in_", ()))


def forget_names(estimator: Any) -> None:
    """Let an estimator that goes by the place of a feature, never at its name, take arrays instead of DataFrames.

    The columns arrive in the order it was trained on, and without a DataFrame an answer takes a sixth of the time.
    Whatever might select by name (a column transformer, a function, somebody else's class) is left alone.
    """
    steps: list[Any] = [step for _, step in estimator.steps] if type(estimator).__name__ == "Pipeline" else [estimator]
    if all(_by_place(step) for step in steps):
        for step in steps:
            cast("dict[str, Any]", vars(step)).pop("feature_names_in_", None)


def _by_place(step: Any) -> bool:
    if not type(step).__module__.startswith("sklearn.") or type(step).__name__ in (
        "ColumnTransformer",
        "FunctionTransformer",
    ):
        return False
    inner = step.get_params().values()
    return not any(hasattr(value, "get_params") or callable(value) or isinstance(value, list) for value in inner)


def _knows_strings(estimator: Any) -> bool:
    categories: Any = getattr(estimator, "categories_", ())
    if hasattr(estimator, "vocabulary_") or any(np.asarray(values).dtype.kind in "OSU" for values in categories):
        return True
    inner = [step[1] for attribute in ("steps", "transformers_") for step in getattr(estimator, attribute, ())]
    return any(_knows_strings(one) for one in inner)
