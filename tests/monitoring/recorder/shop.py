"""A small model to record: a table with names, a text, a label, a score; and a real platform that serves it."""

from pathlib import Path

import numpy as np

from argosy.packaging import profile
from argosy.protocol import tensorfile
from argosy.spec import strict
from argosy.spec.package import Conversion, Lineage, ModelManifest, Scan, Source
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import Array, Tensor, as_bytes
from argosy.store.store import Store
from argosy.store.version import Version

COLUMNS = ("age", "income", "distance")
SIGNATURE = Signature(
    inputs=(
        TensorSpec(name="x", datatype="FP32", shape=(-1, 3), columns=COLUMNS),
        TensorSpec(name="email", datatype="BYTES", shape=(-1,)),
    ),
    outputs=(
        TensorSpec(name="label", datatype="BYTES", shape=(-1,), semantic="label"),
        TensorSpec(name="score", datatype="FP64", shape=(-1,)),
    ),
)
SOURCE = """
import numpy as np

class Model:
    def load(self, path):
        pass

    def predict(self, inputs):
        x = inputs["x"]
        if (x[:, 0] < 0).any():
            raise ValueError("nobody is younger than 0")
        labels = np.array([b"yes" if row[0] > 40 else b"no" for row in x], object)
        return {"label": labels, "score": x.astype("f8").sum(axis=1)}
"""


def rows(n: int, seed: int = 0) -> dict[str, Array]:
    """Inputs of n rows; no e-mail comes twice."""
    rng = np.random.default_rng(seed)
    x = np.stack([rng.integers(18, 80, n), rng.integers(0, 90_000, n), rng.random(n) * 100], axis=1)
    return {"x": x.astype("f4"), "email": as_bytes(np.array([f"secret{seed}-{k}@example.org" for k in range(n)]))}


def answers(inputs: dict[str, Array]) -> dict[str, Array]:
    """What the model answers."""
    labels = np.array([b"yes" if row[0] > 40 else b"no" for row in inputs["x"]], object)
    return {"label": labels, "score": inputs["x"].astype("f8").sum(axis=1)}


def tensors(values: dict[str, Array], specs: tuple[TensorSpec, ...]) -> list[Tensor]:
    """As the protocol has them."""
    return [Tensor(spec.name, spec.datatype, values[spec.name]) for spec in specs]


def push(store: Store, folder: Path, name: str = "shop") -> Version:
    """The model in the store, with golden examples and a reference profile."""
    write(folder, name)
    lineage = Lineage(pushed_by="ada", pushed_at="2026-01-01T00:00:00Z", host="here")
    manifest = strict.load_yaml((folder / "model.yaml").read_bytes(), ModelManifest, "model.yaml")
    return store.add(folder, name=name, manifest=manifest, lineage=lineage, trusted=True)


def write(folder: Path, name: str = "shop") -> None:
    """The package as a folder."""
    folder.joinpath("weights").mkdir(parents=True)
    folder.joinpath("golden").mkdir()
    folder.joinpath("weights/model.py").write_text(f"{SOURCE}# {folder.name}\n")
    sample = rows(200, seed=7)
    inputs, outputs = tensors(sample, SIGNATURE.inputs), tensors(answers(sample), SIGNATURE.outputs)
    few = rows(3)
    tensorfile.write(folder / "golden/inputs.oip", tensors(few, SIGNATURE.inputs))
    tensorfile.write(folder / "golden/outputs.oip", tensors(answers(few), SIGNATURE.outputs))
    found = profile.profile(inputs, outputs, SIGNATURE.inputs, SIGNATURE.outputs)
    folder.joinpath("profile.json").write_bytes(profile.dump(found))
    manifest = ModelManifest(
        name=name,
        engine="python",
        weights="weights",
        signature=SIGNATURE,
        source=Source(name="model.py", digest="sha256:" + "0" * 64, format="python"),
        conversion=Conversion(source="python", converted=False, reason="it is code"),
        scan=Scan(verdict="code", trusted=True),
        settings={"class": "model:Model"},
        golden_rows=3,
    )
    folder.joinpath("model.yaml").write_text(strict.dump_yaml(manifest))
