"""CatBoost models in CatBoost's own binary format, for those who trust the file.

CatBoost checks that a file is whole, not that its trees point to features it has: a hostile one has it read other
memory. So it is loaded only where the caller vouches for it.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec
import numpy as np

from argosy.engines.base import Loading, Loose, check_file, check_settings, require, rows_of, short
from argosy.engines.frames import frame
from argosy.engines.probe import complete, settled
from argosy.spec.errors import BadPackage, InvalidArgument, Untrusted
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import NUMPY, Array

MAGIC = b"CBM1"
OBJECTION = "a CatBoost binary, whose indices CatBoost itself does not check"

CLASSIFIERS = ("Logloss", "CrossEntropy", "MultiClass", "MultiClassOneVsAll")
"""Loss functions of classifiers, with a probability for each class."""
SEVERAL_LABELS = ("MultiLogloss", "MultiCrossEntropy")
"""Those of models with a probability for each label, of which a row may have several."""


class CatboostEngine(Loose):
    """One FP32 input of all features (NaN: missing), or one for each where some are categories or texts; `label` and
    `probabilities` of a classifier, `prediction` of any other model."""

    releases_gil = True

    def __init__(self, model: Any, loss: str, signature: Signature, threads: int) -> None:
        self.signature = signature
        self._model = model
        self._loss = loss
        self._single = len(signature.inputs[0].shape) == 2
        self._threads = threads

    def run(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        specs = self.signature.inputs
        if not rows_of(inputs):  # CatBoost refuses to answer for none
            outputs = self.signature.outputs
            return {spec.name: np.empty((0, *spec.shape[1:]), NUMPY[spec.datatype]) for spec in outputs}
        rows: Any = inputs[specs[0].name] if self._single else frame(specs, inputs)
        try:
            if self._loss not in (*CLASSIFIERS, *SEVERAL_LABELS):
                return {"prediction": self._model.predict(rows, thread_count=self._threads)}
            scores = self._model.predict_proba(rows, thread_count=self._threads)
            if self._loss in SEVERAL_LABELS:
                return {"probabilities": scores}
            return {"label": self._model.predict(rows, thread_count=self._threads).reshape(-1), "probabilities": scores}
        except Exception as error:
            raise InvalidArgument(f"CatBoost refused the input: {short(error)}") from None


def load(given: Loading) -> CatboostEngine:
    """Load a model; its features, classes and loss function say what it takes and gives."""
    path, signature, settings, threads, _, trusted = given
    check_settings(settings)
    check_file(path, "a CatBoost model")
    content = path.read_bytes()  # CatBoost itself asks the system for more of a path than a sandbox allows
    if not content.startswith(MAGIC):
        raise BadPackage(f"{path.name} is no CatBoost model in the format cbm")
    if not trusted:
        raise Untrusted(f"{path.name} is {OBJECTION}: push it with --trust if you know where it comes from")
    catboost: Any = require("catboost", "catboost", f"the CatBoost model {path.name}")
    try:
        loss = str(catboost.CatBoost().load_model(blob=content)._object._get_loss_function_name())
        labelled = loss in (*CLASSIFIERS, *SEVERAL_LABELS)
        made_of: Any = catboost.CatBoostClassifier() if labelled else catboost.CatBoostRegressor(loss_function=loss)
        model: Any = made_of.load_model(blob=content)
        bare = Signature(inputs=_inputs(model), outputs=(), batched=False)
        found = complete(bare.inputs, CatboostEngine(model, loss, bare, threads).run)
        derived = msgspec.structs.replace(found, outputs=tuple(_named(spec, model) for spec in found.outputs))
    except Exception as error:
        raise BadPackage(f"CatBoost cannot load {path.name}: {short(error)}") from None
    made = partial(CatboostEngine, model, loss, threads=threads)
    return settled(made, signature, derived, path.name, named=False)


def _inputs(model: Any) -> tuple[TensorSpec, ...]:
    """CatBoost takes a category that is a whole number for its text."""
    names = [str(name) for name in model.feature_names_]
    categories, texts = set(model.get_cat_feature_indices()), set(model.get_text_feature_indices())
    if model.get_embedding_feature_indices():
        raise InvalidArgument("its features are embeddings, which are not served: export it to ONNX without them")
    if not categories and not texts:
        named = names != [str(place) for place in range(len(names))]
        columns = tuple(names) if named else ()
        return (TensorSpec(name="x", datatype="FP32", shape=(-1, len(names)), columns=columns, nullable=True),)
    return tuple(
        TensorSpec(name=name, datatype="BYTES", shape=(-1,), semantic="text" if place in texts else "categorical")
        if place in categories | texts
        else TensorSpec(name=name, datatype="FP32", shape=(-1,), nullable=True)
        for place, name in enumerate(names)
    )


def _named(spec: TensorSpec, model: Any) -> TensorSpec:
    if spec.name == "prediction":
        return spec
    classes = tuple(str(name) for name in np.asarray(model.classes_).tolist())
    if spec.name == "probabilities":
        return msgspec.structs.replace(spec, semantic="probability", classes=classes)
    return msgspec.structs.replace(spec, semantic="label")
