"""Formats of models that are not served: what each is, and the two commands that bring the model in.

The commands are for the machine where the model was made, which has its framework.
"""

import re
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple


class Conversion(NamedTuple):
    """`what` the file is, the command that `converts` it ({0} is its name), and the file that comes of it."""

    what: str
    converts: str
    gives: str = "model.onnx"

    def said(self, name: str) -> str:
        """As a message goes on after `looks like`."""
        push = f"argosy push {self.gives} --name NAME"
        return f"{self.what}. Convert it with  {self.converts.format(name)}  and then  {push}"


_KERAS = (
    "python -c \"import keras; model = keras.models.load_model('{0}', compile=False); model(model.inputs); "
    "model.export('model.onnx', format='onnx')\""
)
_EXPORT = (
    "torch.export.save(torch.export.export(model, (example,)), 'model.pt2')  in Python, on a model that has these,"
)
_PMML = (
    'python -c "import joblib, sklearn_pmml_model.auto_detect as pmml; '
    "joblib.dump(pmml.auto_detect_estimator('{0}'), 'model.joblib')\""
)

KERAS = Conversion("a Keras model", _KERAS)
KERAS_HDF5 = Conversion("an HDF5 file, as Keras writes", _KERAS)
SAVED_MODEL = Conversion("a TensorFlow SavedModel", "python -m tf2onnx.convert --saved-model {0} --output model.onnx")
TFLITE = Conversion("a TensorFlow Lite model", "python -m tf2onnx.convert --tflite {0} --output model.onnx")
TORCHSCRIPT = Conversion(
    "a TorchScript program",
    "python -c \"import torch; torch.onnx.export(torch.jit.load('{0}'), (torch.zeros(SHAPE),), 'model.onnx', "
    "input_names=['x'], output_names=['y'], dynamic_axes={{'x': {{0: 'n'}}, 'y': {{0: 'n'}}}}, dynamo=False)\"",
)
TORCH_WEIGHTS = Conversion("a torch.save file, which holds weights, or a pickled module", _EXPORT, "model.pt2")
SAFETENSORS = Conversion("a safetensors file, which holds weights without a model", _EXPORT, "model.pt2")
_TASK = "--task TASK exported  (TASK is what it was trained for, such as text-classification)"
HUGGING_FACE = Conversion(
    "a Hugging Face model", f"optimum-cli export onnx --model {{0}} {_TASK}", "exported/model.onnx"
)
_ANEW = "torch.onnx.export(model, (example,), 'model.onnx')  in Python, from the model that it was made of,"
CORE_ML = Conversion("a Core ML model, which only Apple's systems run", _ANEW)
PMML = Conversion(
    "a PMML document", f"{_PMML}  where sklearn-pmml-model is installed, as it has to be here,", "model.joblib --trust"
)
TENSOR_RT = Conversion("a TensorRT engine, which runs on one kind of GPU", _ANEW)
OPEN_VINO = Conversion("an OpenVINO model", _ANEW)
GRAPH = Conversion(
    "a TensorFlow graph",
    "python -m tf2onnx.convert --graphdef {0} --inputs INPUT:0 --outputs OUTPUT:0 --output model.onnx",
)
CATBOOST_JSON = Conversion(
    "CatBoost's JSON",
    "python -c \"import catboost; model = catboost.CatBoost(); model.load_model('{0}', format='json'); "
    "model.save_model('model.cbm')\"",
    "model.cbm --trust",
)
DUMP = "trees that {} has dumped, and cannot load again. Save the model itself with  {}"
R_OBJECT = Conversion(
    "an object of R",
    "xgb.save(model, 'model.ubj')  or  lgb.save(model, 'model.txt')  in R, for models of these,",
    "model.ubj",
)
SPACY = Conversion(
    "a spaCy pipeline",
    "a class in FOLDER/model.py whose load(self, path) calls spacy.load(path / '{0}'), beside a copy of it,",
    "FOLDER --sample rows.csv",
)

_WEIGHTS = ("model.safetensors", "pytorch_model.bin", "model.safetensors.index.json", "pytorch_model.bin.index.json")


def of_folder(path: Path, inside: Collection[str]) -> str:
    """What a folder with these files is; empty where nobody knows."""
    found: Conversion | None = None
    if "saved_model.pb" in inside:
        found = SAVED_MODEL
    elif "config.json" in inside and not {*_WEIGHTS}.isdisjoint(inside):
        found = HUGGING_FACE
    elif {"Manifest.json", "Data"} <= {*inside}:
        found = CORE_ML
    elif {"meta.json", "config.cfg"} <= {*inside}:
        found = SPACY
    return found.said(path.name) if found else ""


def of_archive(path: Path, names: Collection[str]) -> str:
    """What a zip archive of these files is; empty where nobody knows."""
    last = {name.rpartition("/")[2] for name in names}
    if "data.pkl" in last:
        scripted = "constants.pkl" in last and any("/code/" in f"/{name}" for name in names)
        return (TORCHSCRIPT if scripted else TORCH_WEIGHTS).said(path.name)
    if any("com.apple.CoreML" in name for name in names):
        return CORE_ML.said(path.name)
    if "MAR-INF/MANIFEST.json" in names:
        return "a TorchServe archive: unpack it, and push the model in it"
    if names and all(name.endswith(".npy") for name in names):
        return "arrays of numpy, not a model; as sample rows they go to --sample"
    return KERAS.said(path.name) if {"config.json", "model.weights.h5"} <= last else ""


def of_text(start: bytes, name: str) -> str:
    """What JSON or text that begins so is; empty where nobody knows."""
    if re.match(rb"booster\[0\]:|\[\s*\{\s*\"nodeid\"", start):
        return DUMP.format("XGBoost", "model.save_model('model.ubj')")
    if re.match(rb"\{\s*\"name\":\s*\"tree\"", start):
        return DUMP.format("LightGBM", "booster.save_model('model.txt')")
    return CATBOOST_JSON.said(name) if re.match(rb"\{\s*\"(features_info|model_info)\"", start) else ""
