"""Formats of models that are not served: what each is, and the two commands that bring the model in, by
`conversions.toml`.

The commands are for the machine where the model was made, which has its framework.
"""

import re
import tomllib
from collections.abc import Collection
from pathlib import Path

KINDS: dict[str, dict[str, str]] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())
DUMP = "trees that {} has dumped, and cannot load again. Save the model itself with  {}"
_WEIGHTS = ("model.safetensors", "pytorch_model.bin", "model.safetensors.index.json", "pytorch_model.bin.index.json")


def said(kind: str, name: str) -> str:
    """As a message goes on after `looks like`, of a file of one of the `KINDS`."""
    one = KINDS[kind]
    push = f"argosy push {one.get('gives', 'model.onnx')} --name NAME"
    return f"{one['what']}. Convert it with  {one['converts'].replace('{0}', name)}  and then  {push}"


def of_folder(path: Path, inside: Collection[str]) -> str:
    """What a folder with these files is; empty where nobody knows."""
    found = ""
    if "saved_model.pb" in inside:
        found = "saved_model"
    elif "config.json" in inside and not {*_WEIGHTS}.isdisjoint(inside):
        found = "hugging_face"
    elif {"Manifest.json", "Data"} <= {*inside}:
        found = "core_ml"
    elif {"meta.json", "config.cfg"} <= {*inside}:
        found = "spacy"
    return said(found, path.name) if found else ""


def of_archive(path: Path, names: Collection[str]) -> str:
    """What a zip archive of these files is; empty where nobody knows."""
    last = {name.rpartition("/")[2] for name in names}
    if "data.pkl" in last:
        scripted = "constants.pkl" in last and any("/code/" in f"/{name}" for name in names)
        return said("torchscript" if scripted else "torch_weights", path.name)
    if any("com.apple.CoreML" in name for name in names):
        return said("core_ml", path.name)
    if "MAR-INF/MANIFEST.json" in names:
        return "a TorchServe archive: unpack it, and push the model in it"
    if names and all(name.endswith(".npy") for name in names):
        return "arrays of numpy, not a model; as sample rows they go to --sample"
    return said("keras", path.name) if {"config.json", "model.weights.h5"} <= last else ""


def of_text(start: bytes, name: str) -> str:
    """What JSON or text that begins so is; empty where nobody knows."""
    if re.match(rb"booster\[0\]:|\[\s*\{\s*\"nodeid\"", start):
        return DUMP.format("XGBoost", "model.save_model('model.ubj')")
    if re.match(rb"\{\s*\"name\":\s*\"tree\"", start):
        return DUMP.format("LightGBM", "booster.save_model('model.txt')")
    return said("catboost_json", name) if re.match(rb"\{\s*\"(features_info|model_info)\"", start) else ""
