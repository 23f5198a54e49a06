"""LightGBM models in LightGBM's own text format."""

from collections.abc import Mapping
from functools import partial
from typing import Any, cast

import numpy as np

from argosy.engines import categories, lightgbm_file
from argosy.engines.base import Loading, Loose, check_settings, require, short
from argosy.engines.categories import Categories, Coder
from argosy.engines.probe import settled
from argosy.spec.errors import BadPackage, Internal, InvalidArgument
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import Array

LARGE = 256
"""From so many rows on, all threads work on a batch; below it, waking them costs more than they save."""


class LightgbmEngine(Loose):
    """A Booster. One FP64 input of all features (NaN: missing), or one for each where some are categories of pandas;
    one output."""

    releases_gil = True
    parallel = True

    def __init__(self, booster: Any, signature: Signature, threads: int, known: Categories) -> None:
        self.signature = signature
        single = len(signature.inputs[0].shape) == 2
        self._coder = None if single else Coder(signature.inputs, known, "FP64", strict=False)
        self._booster = booster
        self._input = signature.inputs[0].name
        self._output = signature.outputs[0]
        self._threads = threads

    def run(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        rows = self._coder.matrix(inputs) if self._coder else inputs[self._input]
        shape = (len(rows), *self._output.shape[1:])
        if not len(rows):  # LightGBM refuses to answer for none
            return {self._output.name: np.empty(shape)}
        threads = self._threads if len(rows) >= LARGE else 1
        try:
            found: Array = self._booster.predict(rows, num_threads=threads)
        except Exception as error:
            raise Internal(f"LightGBM failed: {short(error)}") from None
        return {self._output.name: found}


def load(given: Loading) -> LightgbmEngine:
    """Load a Booster, after its file was checked."""
    path, signature, settings, threads, *_ = given
    check_settings(settings)
    header = lightgbm_file.inspect(path)
    lgb = require("lightgbm", "lightgbm", f"the LightGBM model {path.name}")
    try:
        booster: Any = lgb.Booster(model_file=str(path))
        known = categories_of(booster)
        derived = _signature(booster, header, known)
    except (lgb.basic.LightGBMError, ValueError, KeyError) as error:
        raise BadPackage(f"LightGBM cannot load {path.name}: {short(error)}") from None
    made = partial(LightgbmEngine, booster, threads=threads, known=known)
    return settled(made, signature, derived, path.name, named=False)


def categories_of(booster: Any) -> dict[str, list[Any]]:
    """The categories of each column that was one of pandas. Raises InvalidArgument where the model does not say which
    columns its lists belong to."""
    lists: list[list[Any]] = booster.pandas_categorical or []
    if not lists:
        return {}
    names: list[str] = booster.feature_name()
    parameters: dict[str, Any] = booster.params
    places = cast("list[int]", parameters.get("categorical_column") or parameters.get("categorical_feature") or [])
    if len(places) != len(lists):
        raise InvalidArgument(
            f"the LightGBM model has categories for {len(lists)} columns and does not say which (ordered categories): "
            "train it on unordered ones"
        )
    return {names[place]: values for place, values in zip(places, lists, strict=True)}


def _signature(booster: Any, header: dict[str, str], known: Categories) -> Signature:
    """What the file says."""
    names = tuple(header["feature_names"].split(" "))
    columns = () if names[0] == "Column_0" else names
    inputs = (TensorSpec(name="x", datatype="FP64", shape=(-1, len(names)), columns=columns, nullable=True),)
    if known:
        inputs = categories.inputs(names, known, "FP64")
    outputs = int(booster.num_model_per_iteration())
    objective = header.get("objective", "").partition(" ")[0]
    if outputs > 1:
        spec = TensorSpec(name="probabilities", datatype="FP64", shape=(-1, outputs), semantic="probability")
    elif objective in ("binary", "cross_entropy"):
        spec = TensorSpec(name="probability", datatype="FP64", shape=(-1,), semantic="probability")
    else:
        spec = TensorSpec(name="prediction", datatype="FP64", shape=(-1,))
    return Signature(inputs=inputs, outputs=(spec,))
