"""XGBoost models in XGBoost's own JSON or UBJSON."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from argosy.engines import categories, xgboost_file
from argosy.engines.base import Loading, Loose, check_settings, require, short
from argosy.engines.categories import Categories, Coder
from argosy.engines.probe import settled
from argosy.spec.errors import BadPackage, Internal, InvalidArgument
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import Array

LARGE = 512
"""From so many rows on, all threads work on a batch; below it, waking them costs more than they save."""


class XgboostEngine(Loose):
    """A Booster. One FP32 input of all features (NaN: missing), or one for each where some are categories; a classifier
    of XGBoost's scikit-learn classes gives labels and probabilities, any other booster its one output."""

    releases_gil = True

    def __init__(self, booster: Any, signature: Signature, threads: int, about: "About") -> None:
        self.signature = signature
        self._booster = booster
        self._input = signature.inputs[0].name
        self._output = signature.outputs[-1]
        self._labelled = len(signature.outputs) > 1
        self._range = (0, about.rounds)
        self._linear = about.linear  # linear boosters have no predict in place
        self._coder = about.coder(signature)
        self._threads = (1, threads)
        self._many = False

    def run(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """See `Loose.run`. The number of threads is the Booster's own state, hence not `parallel`."""
        rows = self._coder.matrix(inputs) if self._coder else inputs[self._input]
        if (many := len(rows) >= LARGE) != self._many:
            self._booster.set_param({"nthread": self._threads[many]})
            self._many = many
        try:
            found = self._answer(rows)
        except ValueError as error:  # XGBoostError is one
            raise Internal(f"XGBoost failed: {short(error)}") from None
        if self._labelled:
            return _labelled(found)
        shape = (len(rows), *self._output.shape[1:])
        if found.size != np.prod(shape, dtype=np.int64):
            raise Internal(f"XGBoost gave {found.size} values where the signature says {list(shape)}")
        found = found.reshape(shape)
        return {self._output.name: found.astype(np.int64) if self._output.datatype == "INT64" else found}

    def _answer(self, rows: Array) -> Array:
        if not len(rows):
            return np.empty((0, *self._output.shape[1:]), np.float32)
        if not self._linear:
            return self._booster.inplace_predict(rows, iteration_range=self._range, validate_features=False)
        import xgboost

        return self._booster.predict(xgboost.DMatrix(rows), iteration_range=self._range, validate_features=False)


def _labelled(found: Array) -> dict[str, Array]:
    """As XGBClassifier answers: of two classes the booster gives the probability of the second."""
    if found.ndim == 1:
        return {"label": (found > 0.5).astype(np.int64), "probabilities": np.stack([1 - found, found], axis=1)}
    return {"label": found.argmax(axis=1), "probabilities": found}


class About(NamedTuple):
    """What a file says besides its trees. `rounds`: the ones that answer, 0 for all. `classes`: of a classifier of
    XGBoost's scikit-learn classes its number, 0 for any other booster; `names` those of earlier versions."""

    rounds: int
    linear: bool
    categories: Categories
    classes: int
    names: tuple[str, ...]

    def coder(self, signature: Signature) -> Coder | None:
        """What turns categories into codes; None where the signature has one matrix of numbers."""
        if len(signature.inputs[0].shape) == 2:
            return None
        return Coder(signature.inputs, self.categories, "FP32", strict=True)


def load(given: Loading) -> XgboostEngine:
    """Load a Booster. Early stopping is followed where the model was saved by XGBoost's scikit-learn classes."""
    path, signature, settings, threads, *_ = given
    check_settings(settings)
    kind = xgboost_file.inspect(path)
    xgb = require("xgboost", "xgboost", f"the XGBoost model {path.name}")
    try:
        booster: Any = xgb.Booster({"nthread": 1})
        booster.load_model(str(path) if path.suffix == f".{kind}" else bytearray(path.read_bytes()))
        if kind == "json":
            xgboost_file.inspect_bytes(bytes(booster.save_raw("ubj")), path.name)
        config = json.loads(booster.save_config())["learner"]
        about = _about(booster, config, categories_of(booster))
        derived = _signature(booster, config, about)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadPackage(f"XGBoost cannot load {path.name}: {short(error)}") from None

    def made(found: Signature) -> XgboostEngine:
        return XgboostEngine(booster, found, threads, about)

    return settled(made, signature, derived, path.name, named=False)


def categories_of(booster: Any) -> dict[str, list[Any]]:
    """The categories of each column that was one of pandas, as XGBoost keeps them from 3.1 on."""
    if "c" not in (booster.feature_types or ()):
        return {}
    return xgboost_file.categories(xgboost_file.inspect_bytes(bytes(booster.save_raw("ubj")), "the booster"))


def _about(booster: Any, config: dict[str, Any], known: Categories) -> About:
    attributes: dict[str, str] = booster.attributes()
    rounds = int(attributes.get("best_iteration", -1)) + 1 if "scikit_learn" in attributes else 0
    said: Any = json.loads(attributes.get("scikit_learn", "{}"))
    objective, sizes = config["objective"]["name"], config["learner_model_param"]
    several = int(sizes["num_class"]) if objective == "multi:softprob" else 0
    two = 2 if objective == "binary:logistic" and int(sizes.get("num_target", 1)) == 1 else 0
    classes = (several or two) if said.get("_estimator_type") == "classifier" else 0
    names: Any = (said.get("_le") or said).get("classes_") or ()
    given = tuple(str(name) for name in names)
    linear = config["gradient_booster"]["name"] == "gblinear"
    return About(rounds, linear, known, classes, given if len(given) == classes else ())


def _signature(booster: Any, config: dict[str, Any], about: About) -> Signature:
    """What the file says."""
    names = tuple(booster.feature_names or ())
    shape = (-1, int(booster.num_features()))
    inputs = (TensorSpec(name="x", datatype="FP32", shape=shape, columns=names, nullable=True),)
    if about.categories:
        inputs = categories.inputs(names, about.categories, "FP32")
    if about.classes:
        label = TensorSpec(name="label", datatype="INT64", shape=(-1,), semantic="label", classes=about.names)
        scores = TensorSpec(
            name="probabilities",
            datatype="FP32",
            shape=(-1, about.classes),
            semantic="probability",
            classes=about.names,
        )
        return Signature(inputs=inputs, outputs=(label, scores))
    return Signature(inputs=inputs, outputs=(_output(config),))


def _output(config: dict[str, Any]) -> TensorSpec:
    objective = config["objective"]["name"]
    classes = int(config["learner_model_param"]["num_class"])
    targets = int(config["learner_model_param"].get("num_target", 1))
    if objective == "multi:softmax":
        return TensorSpec(name="label", datatype="INT64", shape=(-1,), semantic="label")
    if objective == "multi:softprob":
        return TensorSpec(name="probabilities", datatype="FP32", shape=(-1, classes), semantic="probability")
    shape = (-1,) if targets == 1 else (-1, targets)
    if objective == "binary:logistic":
        return TensorSpec(name="probability", datatype="FP32", shape=shape, semantic="probability")
    if classes > 1:
        raise InvalidArgument(f"the objective '{objective}' with {classes} classes is not known: use multi:softprob")
    return TensorSpec(name="prediction", datatype="FP32", shape=shape)
