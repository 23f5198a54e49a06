"""XGBoost models in XGBoost's own JSON or UBJSON."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from argosy.engines import xgboost_file
from argosy.engines.base import Loose, Settings, check_settings, require, short
from argosy.engines.probe import settled
from argosy.spec.errors import BadPackage, Internal, InvalidArgument
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import Array

LARGE = 512
"""From so many rows on, all threads work on a batch; below it, waking them costs more than they save."""


class XgboostEngine(Loose):
    """A Booster. One FP32 input of all features (NaN: missing; a category is its code), one output."""

    releases_gil = True

    def __init__(self, booster: Any, signature: Signature, threads: int, rounds: int, *, linear: bool) -> None:
        self.signature = signature
        self._booster = booster
        self._input = signature.inputs[0].name
        self._output = signature.outputs[0]
        self._range = (0, rounds)
        self._linear = linear  # linear boosters have no predict in place
        self._threads = (1, threads)
        self._many = False

    def run(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """See `Loose.run`. The number of threads is the Booster's own state, hence not `parallel`."""
        rows = inputs[self._input]
        if (many := len(rows) >= LARGE) != self._many:
            self._booster.set_param({"nthread": self._threads[many]})
            self._many = many
        try:
            found = self._answer(rows)
        except ValueError as error:  # XGBoostError is one
            raise Internal(f"XGBoost failed: {short(error)}") from None
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


def load(
    path: Path,
    signature: Signature | None,
    settings: Settings,
    threads: int,
    sample: Mapping[str, Array] | None = None,
    trusted: bool = False,
) -> XgboostEngine:
    """Load a Booster. Early stopping is followed where the model was saved by XGBoost's scikit-learn classes."""
    check_settings(settings)
    kind = xgboost_file.inspect(path)
    xgb = require("xgboost", "xgboost", f"the XGBoost model {path.name}")
    try:
        booster: Any = xgb.Booster({"nthread": 1})
        booster.load_model(str(path) if path.suffix == f".{kind}" else bytearray(path.read_bytes()))
        if kind == "json":
            xgboost_file.inspect_bytes(bytes(booster.save_raw("ubj")), path.name)
        config = json.loads(booster.save_config())["learner"]
        names = tuple(booster.feature_names or ())
        shape = (-1, int(booster.num_features()))
        rows = TensorSpec(name="x", datatype="FP32", shape=shape, columns=names, nullable=True)
        derived = Signature(inputs=(rows,), outputs=(_output(config),))
    except (ValueError, KeyError, TypeError) as error:
        raise BadPackage(f"XGBoost cannot load {path.name}: {short(error)}") from None
    attributes: dict[str, str] = booster.attributes()
    rounds = int(attributes.get("best_iteration", -1)) + 1 if "scikit_learn" in attributes else 0
    linear = config["gradient_booster"]["name"] == "gblinear"

    def made(found: Signature) -> XgboostEngine:
        return XgboostEngine(booster, found, threads, rounds, linear=linear)

    return settled(made, signature, derived, path.name, named=False)


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
