"""MLflow model folders, through their python_function flavour.

MLflow loads a folder only where the caller trusts it: it runs whatever code the folder names. Without trust the
flavours of `mlflow_rules` are read by our own engines' loaders, and MLflow is given the model to answer with.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from argosy.engines import mlflow_weights
from argosy.engines.base import Loose, Settings, check_settings, require, short
from argosy.engines.frames import column, strings
from argosy.engines.mlflow_file import MlModel, read
from argosy.engines.mlflow_rules import regular
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
        """See `Loose.run`."""
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
            name: strings(specs[name], array) if specs[name].datatype == "BYTES" else array
            for name, array in inputs.items()
        }
        return next(iter(arrays.values())) if self._about.unnamed or self._about.inputs is None else arrays


def load(
    path: Path,
    signature: Signature | None,
    settings: Settings,
    threads: int,
    sample: Mapping[str, Array] | None = None,
    trusted: bool = False,
) -> MlflowEngine:
    """Load the folder. The inputs are those of its MLmodel; the outputs what it gives for them.

    The setting `trusted_pickle`, which packages of an earlier Argosy have, is of no account.
    """
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
    model = mlflow_weights.load(about.weights, regular(path, about.weights.file), threads)
    return pyfunc.PyFuncModel(models.Model(flavors=flavors, signature=signature), model, about.weights.method)


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
    texts = strings(spec, values)
    if kind != "datetime":
        return texts
    try:
        return texts.astype("datetime64[ns]")
    except ValueError:
        raise InvalidArgument(f"input '{spec.name}': a datetime is written as ISO 8601, 2026-01-31T12:00:00") from None
