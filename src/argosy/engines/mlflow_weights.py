"""The weights of an MLflow folder, read by our own loaders, with the methods that MLflow's wrappers of them have."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from argosy.engines import lightgbm_file, onnx, onnx_file, sklearn, xgboost_file
from argosy.engines.base import require
from argosy.engines.mlflow_rules import Weights
from argosy.spec.errors import InvalidArgument


def load(weights: Weights, file: Path, threads: int) -> Any:
    """What a pyfunc model calls: it takes a DataFrame or arrays and answers as the flavour does in MLflow.

    Raises Untrusted for a file that holds more than data, BadPackage for a broken one, MissingExtra.
    """
    if weights.loader == "mlflow.onnx":
        onnx_file.inspect(file)
        return Graph(onnx.session(file, threads))
    if weights.loader == "mlflow.xgboost":
        return _xgboost(file, weights.model_class)
    return _lightgbm(file) if weights.model_class == "lightgbm.basic.Booster" else sklearn.read(file)


def _lightgbm(file: Path) -> Any:
    lightgbm_file.inspect(file)
    return require("lightgbm", "lightgbm", f"the LightGBM model {file.name}").Booster(model_file=file)


def _xgboost(file: Path, model_class: str) -> Any:
    kind = xgboost_file.inspect(file)
    require("xgboost", "xgboost", f"the XGBoost model {file.name}")
    module, _, name = model_class.rpartition(".")
    model: Any = getattr(importlib.import_module(module), name)()
    model.load_model(str(file) if file.suffix == f".{kind}" else bytearray(file.read_bytes()))
    return Booster(model) if name == "Booster" else model


class Booster:
    """An XGBoost booster that takes a DataFrame or an array."""

    def __init__(self, booster: Any) -> None:
        self._booster = booster

    def predict(self, data: Any) -> Any:
        """The booster's answers."""
        import xgboost

        return self._booster.predict(xgboost.DMatrix(data))


class Graph:
    """An ONNX graph that takes arrays by name, one array, or a DataFrame: its values as the one input, or a column for
    each."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._inputs: dict[str, str] = {one.name: one.type for one in session.get_inputs()}

    def predict(self, data: Any) -> Any:
        """The outputs by name; in a DataFrame where a DataFrame came."""
        framed = hasattr(data, "columns")
        feeds = {name: _narrow(self._inputs.get(name, ""), array) for name, array in self._feeds(data, framed).items()}
        found = {one.name: values for one, values in self._run(feeds)}
        if not framed:
            return found
        import pandas as pd

        return pd.DataFrame({name: np.asarray(values).reshape(-1) for name, values in found.items()})

    def _run(self, feeds: dict[str, Any]) -> Any:
        return zip(self._session.get_outputs(), self._session.run(None, feeds), strict=True)

    def _feeds(self, data: Any, framed: bool) -> dict[str, Any]:
        if isinstance(data, dict):
            return data  # pyright: ignore[reportUnknownVariableType]
        if framed and len(self._inputs) > 1:
            return {name: data[name].to_numpy() for name in self._inputs}
        if len(self._inputs) != 1:
            raise InvalidArgument(f"the ONNX model takes {', '.join(self._inputs)}, not one array")
        return {next(iter(self._inputs)): data.to_numpy() if framed else data}


def _narrow(kind: str, array: Any) -> Any:
    return array.astype(np.float32) if kind == "tensor(float)" and array.dtype == np.float64 else array
