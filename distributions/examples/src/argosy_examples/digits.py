"""Handwritten digits: a scikit-learn classifier from a joblib file.

Data: 1797 images of 8 x 8 pixels, "Optical Recognition of Handwritten Digits" of the UCI repository (CC BY 4.0), as
scikit-learn carries it.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from argosy.packaging.options import PushOptions
from argosy.spec.tensor import Array, tensor
from argosy_examples.case import Case, Score, split
from argosy_examples.needs import require

HELD_OUT = 0.2
SEED = 7
FLOOR = 0.95


def prepare(folder: Path, report: Callable[[str], None]) -> Case:
    """Train on four fifths of the images, keep the rest."""
    found: Any = require("sklearn.datasets").load_digits()
    images, digits = found.data.astype("f4"), found.target
    train, held = split(len(images), HELD_OUT, SEED)
    report(f"training a network on {len(train)} images of digits")
    source, sample = folder / "digits.joblib", folder / "digits.npy"
    require("joblib").dump(fitted(images[train], digits[train]), source)
    np.save(sample, images[train])

    def judge(outputs: Mapping[str, Array]) -> Score:
        return score(outputs["label"], digits[held])

    return Case(
        name="digits",
        about="scikit-learn network, handwritten digits",
        source=source,
        options=PushOptions(sample=sample, license="Apache-2.0", description="Handwritten digits, 8 x 8 pixels"),
        inputs=(tensor("x", images[held]),),
        judge=judge,
        form="JSON",
    )


def fitted(images: Array, digits: Array) -> Any:
    """A scaled network of one hidden layer; the same images give the same network."""
    network = require("sklearn.neural_network").MLPClassifier(
        (64,), learning_rate_init=0.01, max_iter=200, tol=1e-3, random_state=SEED
    )
    scaler = require("sklearn.preprocessing").MinMaxScaler()
    return require("sklearn.pipeline").make_pipeline(scaler, network).fit(images, digits)


def score(labels: Array, digits: Array) -> Score:
    """The share of digits that are read right."""
    share = float((labels == digits).mean())
    return Score(measure="accuracy", value=share, floor=FLOOR, note="guessing gives 0.10")
