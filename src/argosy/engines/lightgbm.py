"""LightGBM models in LightGBM's own text format."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from argosy.engines import lightgbm_file
from argosy.engines.base import Loose, Settings, check_settings, require, short
from argosy.engines.probe import settled
from argosy.spec.errors import BadPackage, Internal
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import Array

LARGE = 256
"""From so many rows on, all threads work on a batch; below it, waking them costs more than they save."""


class LightgbmEngine(Loose):
    """A Booster. One FP64 input of all features (NaN: missing; a category is its code), one output."""

    releases_gil = True
    parallel = True

    def __init__(self, booster: Any, signature: Signature, threads: int) -> None:
        self.signature = signature
        self._booster = booster
        self._input = signature.inputs[0].name
        self._output = signature.outputs[0]
        self._threads = threads

    def run(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """See `Loose.run`."""
        rows = inputs[self._input]
        shape = (len(rows), *self._output.shape[1:])
        if not len(rows):  # LightGBM refuses to answer for none
            return {self._output.name: np.empty(shape)}
        threads = self._threads if len(rows) >= LARGE else 1
        try:
            found: Array = self._booster.predict(rows, num_threads=threads)
        except Exception as error:
            raise Internal(f"LightGBM failed: {short(error)}") from None
        return {self._output.name: found}


def load(
    path: Path,
    signature: Signature | None,
    settings: Settings,
    threads: int,
    sample: Mapping[str, Array] | None = None,
    trusted: bool = False,
) -> LightgbmEngine:
    """Load a Booster, after its file was checked."""
    check_settings(settings)
    header = lightgbm_file.inspect(path)
    lgb = require("lightgbm", "lightgbm", f"the LightGBM model {path.name}")
    try:
        booster: Any = lgb.Booster(model_file=str(path))
        derived = _signature(booster, header)
    except (lgb.basic.LightGBMError, ValueError, KeyError) as error:
        raise BadPackage(f"LightGBM cannot load {path.name}: {short(error)}") from None
    return settled(lambda found: LightgbmEngine(booster, found, threads), signature, derived, path.name, named=False)


def _signature(booster: Any, header: dict[str, str]) -> Signature:
    names = tuple(header["feature_names"].split(" "))
    columns = () if names[0] == "Column_0" else names
    rows = TensorSpec(name="x", datatype="FP64", shape=(-1, len(names)), columns=columns, nullable=True)
    outputs = int(booster.num_model_per_iteration())
    objective = header.get("objective", "").partition(" ")[0]
    if outputs > 1:
        spec = TensorSpec(name="probabilities", datatype="FP64", shape=(-1, outputs), semantic="probability")
    elif objective in ("binary", "cross_entropy"):
        spec = TensorSpec(name="probability", datatype="FP64", shape=(-1,), semantic="probability")
    else:
        spec = TensorSpec(name="prediction", datatype="FP64", shape=(-1,))
    return Signature(inputs=(rows,), outputs=(spec,))
