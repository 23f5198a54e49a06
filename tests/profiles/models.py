"""A small model to profile: five numbers in a table, a category, a probability and a label."""

import numpy as np

from argosy.packaging.profile import Profile as Reference
from argosy.packaging.profile import profile
from argosy.profiles.layout import Layout, layout
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import Array, Tensor, as_bytes

COLUMNS = ("age", "income", "score", "height", "days")
SIGNATURE = Signature(
    inputs=(
        TensorSpec(name="x", datatype="FP32", shape=(-1, 5), columns=COLUMNS),
        TensorSpec(name="country", datatype="BYTES", shape=(-1, 1)),
    ),
    outputs=(
        TensorSpec(name="p", datatype="FP64", shape=(-1,)),
        TensorSpec(name="label", datatype="INT64", shape=(-1,), semantic="label"),
    ),
)
COUNTRIES = [b"DE", b"FR", b"US"]


def rows(n: int, seed: int = 0) -> tuple[dict[str, Array], dict[str, Array]]:
    """Inputs and outputs of n rows."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 5)).astype(np.float32)
    country = as_bytes(np.array([COUNTRIES[i] for i in rng.integers(3, size=n)] or [], object)).reshape(n, 1)
    return {"x": x, "country": country}, {"p": rng.random(n), "label": rng.integers(2, size=n)}


def reference(n: int = 2000, seed: int = 1) -> Reference:
    """The reference profile of n rows."""
    inputs, outputs = rows(n, seed)
    return profile(
        [Tensor(spec.name, spec.datatype, inputs[spec.name]) for spec in SIGNATURE.inputs],
        [Tensor(spec.name, spec.datatype, outputs[spec.name]) for spec in SIGNATURE.outputs],
        SIGNATURE.inputs,
        SIGNATURE.outputs,
    )


def small() -> Layout:
    """Its layout."""
    return layout(reference(), SIGNATURE)
