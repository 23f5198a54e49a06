"""Tiny models, trained once for all tests of this folder."""

from pathlib import Path

import numpy as np
import pytest

Data = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="session")
def digits() -> Data:
    from sklearn.datasets import load_digits

    return load_digits(return_X_y=True)


@pytest.fixture(scope="session")
def _digits_model(digits: Data):
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=30, tol=1e-1).fit(digits[0], digits[1])


@pytest.fixture(scope="session")
def digits_onnx(_digits_model, digits: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _convert(_digits_model, digits, tmp_path_factory, {"zipmap": False})


@pytest.fixture(scope="session")
def digits_onnx_zipmap(_digits_model, digits: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _convert(_digits_model, digits, tmp_path_factory, {})


def _convert(model, digits: Data, factory: pytest.TempPathFactory, options: dict[str, bool]) -> Path:
    from skl2onnx import to_onnx

    path = factory.mktemp("onnx") / "digits.onnx"
    path.write_bytes(to_onnx(model, digits[0][:1].astype("f4"), options=options).SerializeToString())
    return path
