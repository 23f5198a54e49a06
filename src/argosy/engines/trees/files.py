"""The weights of a package of trees, of whatever engine → their form."""

from pathlib import Path

from argosy.engines import lightgbm as lightgbm_engine
from argosy.engines import lightgbm_file, unpickle, xgboost_file
from argosy.engines.base import require
from argosy.engines.trees import graph, lightgbm, sklearn, xgboost
from argosy.engines.trees.form import Ensemble
from argosy.engines.trees.onnx import Texts
from argosy.spec.signature import Signature

BOOSTERS = ("lightgbm", "xgboost")


def read(engine: str, path: Path, signature: Signature, *, trusted: bool = False) -> tuple[Ensemble, Texts] | None:
    """The ensemble, and the texts of its categories; None where the weights are no trees. Raises Unsupported for trees
    that have no form."""
    if engine == "onnx":
        return graph.read(path) if graph.has_trees(path) else None
    if engine in BOOSTERS:
        return booster(engine, path, signature)
    if engine == "sklearn":
        estimator = unpickle.load(path, trusted=trusted)
        return (sklearn.read(estimator), sklearn.texts(estimator)) if sklearn.has_trees(estimator) else None
    return None


def booster(engine: str, path: Path, signature: Signature) -> tuple[Ensemble, Texts]:
    """The ensemble in a file of LightGBM or XGBoost. Raises Unsupported."""
    if engine == "lightgbm":
        lightgbm_file.inspect(path)
        form = lightgbm.read(path.read_text())
    else:
        form = xgboost.read(xgboost.parse(path), labelled=len(signature.outputs) > 1)
    return form, _texts(engine, path, signature)


def _texts(engine: str, path: Path, signature: Signature) -> Texts:
    """The categories of columns that the signature takes by name."""
    inputs = signature.inputs
    if not any(spec.semantic == "categorical" for spec in inputs):
        return {}
    if engine == "xgboost":
        known = xgboost_file.categories(xgboost.parse(path))
    else:
        lgb = require("lightgbm", "lightgbm", "a LightGBM model with categories")
        known = lightgbm_engine.categories_of(lgb.Booster(model_file=str(path)))
    return {
        place: tuple(text_of(each) for each in known[spec.source or spec.name])
        for place, spec in enumerate(inputs)
        if spec.semantic == "categorical"
    }


def text_of(value: object) -> str:
    """A label or category as it stands in a header."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
