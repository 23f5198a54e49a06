"""MLflow model folders, through their python_function flavour.

MLflow loads a folder only where the caller trusts it: it runs whatever code the folder names. Without trust the
flavours of `mlflow_file` are read by our own engines' loaders, and MLflow is given the model to answer with.
"""

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from argosy.engines import lightgbm_file, onnx, onnx_file, unpickle, xgboost_file
from argosy.engines.base import Loading, Loose, check_settings, require, short
from argosy.engines.frames import column, strings
from argosy.engines.mlflow_file import MlModel, Weights, read, regular
from argosy.engines.probe import complete
from argosy.spec.errors import ArgosyError, BadPackage, InvalidArgument, Untrusted
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import Array

OUTPUT = "prediction"
"""The name of an output that has none of its own."""


class MlflowEngine(Loose):
    """A pyfunc model: it is given the DataFrame or arrays of its MLflow signature. Python holds the GIL meanwhile."""

    def __init__(self, model: Any, about: MlModel, signature: Signature) -> None:
        self.signature = signature
        self._model = model
        self._about = about

    def run(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        try:
            found: Any = self._model.predict(self._rows(inputs))
        except InvalidArgument:
            raise
        except Exception as error:
            raise InvalidArgument(
                f"the MLflow model refused the input: {type(error).__name__}: {short(error)}"
            ) from None
        outputs = self.signature.outputs
        return named(found, outputs[0].name if len(outputs) == 1 else OUTPUT)

    def _rows(self, inputs: Mapping[str, Array]) -> Any:
        specs = {spec.name: spec for spec in self.signature.inputs}
        if self._about.columns:
            import pandas as pd

            columns = self._about.columns
            return pd.DataFrame(
                {name: _column(specs[name], inputs[name], kind) for name, kind in columns.items() if name in inputs}
            )
        arrays = {
            name: strings(name, array, nullable=specs[name].nullable) if specs[name].datatype == "BYTES" else array
            for name, array in inputs.items()
        }
        return next(iter(arrays.values())) if self._about.unnamed or self._about.inputs is None else arrays


def load(given: Loading) -> MlflowEngine:
    """Load the folder. The inputs are those of its MLmodel; the outputs what it gives for them. The setting
    `trusted_pickle`, which packages of an earlier Argosy have, is of no account."""
    path, signature, settings, threads, sample, trusted = given
    check_settings(settings, trusted_pickle=bool)
    about = read(path)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    mlflow = require("mlflow.pyfunc", "mlflow", f"the MLflow model {path.name}")
    try:
        model = (
            mlflow.load_model(str(path.absolute()), suppress_warnings=True)
            if trusted
            else _restricted(path, about, threads)
        )
    except ArgosyError:
        raise
    except (Exception, SystemExit) as error:
        raise BadPackage(f"MLflow cannot load {path.name}: {type(error).__name__}: {short(error)}") from None
    if signature is not None and signature.outputs:
        return MlflowEngine(model, about, signature)
    inputs = about.inputs or (signature.inputs if signature is not None else None)
    if not inputs:
        raise InvalidArgument(f"{path.name} has no MLflow signature: log it with one, or give a sample with --sample")
    engine = MlflowEngine(model, about, Signature(inputs=inputs, outputs=(), batched=False))
    engine.signature = complete(inputs, engine.run, sample)
    return engine


def _restricted(path: Path, about: MlModel, threads: int) -> Any:
    """The pyfunc model around weights that our own loaders read. Of MLmodel MLflow gets to see the signature alone."""
    if about.weights is None:
        raise Untrusted(
            f"loading {path.name} would follow {', '.join(about.objections[:5])}, which Argosy does not vouch for; if "
            "you know where the folder comes from, push it again with --trust"
        )
    models = require("mlflow.models", "mlflow", f"the MLflow model {path.name}")
    pyfunc = require("mlflow.pyfunc", "mlflow", f"the MLflow model {path.name}")
    signature = models.ModelSignature.from_dict(about.signature) if about.signature.get("inputs") else None
    flavors = {"python_function": {"loader_module": about.loader}}
    model = _loaded(about.weights, regular(path, about.weights.file), threads)
    return pyfunc.PyFuncModel(models.Model(flavors=flavors, signature=signature), model, about.weights.method)


def _loaded(weights: Weights, file: Path, threads: int) -> Any:
    """What a pyfunc model calls, read by our own loaders. It takes a DataFrame or arrays, and answers as in MLflow.
    Raises Untrusted for a file that holds more than data, BadPackage for a broken one, MissingExtra."""
    if weights.loader == "mlflow.onnx":
        onnx_file.inspect(file)
        return Graph(onnx.session(file, threads))
    if weights.loader == "mlflow.xgboost":
        kind = xgboost_file.inspect(file)
        require("xgboost", "xgboost", f"the XGBoost model {file.name}")
        module, _, name = weights.model_class.rpartition(".")
        model: Any = getattr(importlib.import_module(module), name)()
        model.load_model(str(file) if file.suffix == f".{kind}" else bytearray(file.read_bytes()))
        return Booster(model) if name == "Booster" else model
    if weights.model_class == "lightgbm.basic.Booster":
        lightgbm_file.inspect(file)
        return require("lightgbm", "lightgbm", f"the LightGBM model {file.name}").Booster(model_file=file)
    return unpickle.load(file)


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
        feeds = self._feeds(data, framed)
        for name, array in feeds.items():
            if self._inputs.get(name) == "tensor(float)" and array.dtype == np.float64:
                feeds[name] = array.astype(np.float32)
        outputs = self._session.run(None, feeds)
        found = {one.name: values for one, values in zip(self._session.get_outputs(), outputs, strict=True)}
        if not framed:
            return found
        import pandas as pd

        return pd.DataFrame({name: np.asarray(values).reshape(-1) for name, values in found.items()})

    def _feeds(self, data: Any, framed: bool) -> dict[str, Any]:
        if isinstance(data, dict):
            return dict(cast("dict[str, Any]", data))
        if framed and len(self._inputs) > 1:
            return {name: data[name].to_numpy() for name in self._inputs}
        if len(self._inputs) != 1:
            raise InvalidArgument(f"the ONNX model takes {', '.join(self._inputs)}, not one array")
        return {next(iter(self._inputs)): data.to_numpy() if framed else data}


def named(found: Any, alone: str) -> dict[str, Array]:
    """What a pyfunc returns (array, DataFrame, Series, dict, list) as arrays by name; `alone` names a single one."""
    if isinstance(found, dict):
        return {str(name): np.asarray(value) for name, value in cast("dict[str, Any]", found).items()}
    if hasattr(found, "columns"):
        names = [str(name) for name in found.columns]
        if len(names) == 1:
            return {alone if found.columns.dtype.kind == "i" else names[0]: found.iloc[:, 0].to_numpy()}
        return {name: found.iloc[:, place].to_numpy() for place, name in enumerate(names)}
    return {alone: found.to_numpy() if hasattr(found, "to_numpy") else np.asarray(found)}


def _column(spec: TensorSpec, array: Array, kind: str) -> Array:
    values = column(spec, array)
    if kind == "binary" or spec.datatype != "BYTES":
        return values
    texts = strings(spec.name, values, nullable=spec.nullable)
    if kind != "datetime":
        return texts
    try:
        return texts.astype("datetime64[ns]")
    except ValueError:
        raise InvalidArgument(f"input '{spec.name}': a datetime is written as ISO 8601, 2026-01-31T12:00:00") from None
