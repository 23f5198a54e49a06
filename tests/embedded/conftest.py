"""Packages of trees, and C that is compiled and asked."""

import ctypes
import subprocess

import joblib
import numpy as np
import pytest

from argosy.client.local import locate
from tests import programs


@pytest.fixture(scope="session")
def digits():
    from sklearn.datasets import load_digits

    return load_digits(return_X_y=True)


@pytest.fixture(scope="session")
def forest(digits):
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(n_estimators=10, max_depth=6, random_state=0).fit(*digits)


@pytest.fixture(scope="session")
def package(forest, tmp_path_factory):
    path = tmp_path_factory.mktemp("forest") / "digits.joblib"
    joblib.dump(forest, path)
    located = locate(path)
    yield located.open()
    located.release()


class Compiled:
    """The function of generated C, as a shared library: rows in, arrays of its output ports out."""

    def __init__(self, code, folder):
        programs.need("gcc")
        for name, text in code.files.items():
            (folder / name).write_text(text)
        library = folder / f"{code.name}.so"
        strict = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic")
        subprocess.run(
            ["gcc", "-Os", *strict, "-shared", "-fPIC", f"{code.name}.c", "-o", str(library)], cwd=folder, check=True
        )
        self.code = code
        self.function = getattr(ctypes.CDLL(str(library)), f"{code.name}_predict")

    def ask(self, rows):
        """Answers for all rows; `refused` are the numbers of those that the function does not answer."""
        rows = np.ascontiguousarray(rows, np.float32)
        kinds = {"float": np.float32, "int32_t": np.int32}
        found = [np.zeros((len(rows), port.size), kinds[port.kind]) for port in self.code.outputs]
        refused = []
        for number in range(len(rows)):
            given = (rows, *found)
            if self.function(*(ctypes.c_void_p(each.ctypes.data + number * each.strides[0]) for each in given)):
                refused.append(number)
        return found, refused


@pytest.fixture
def compiled(tmp_path):
    return lambda code: Compiled(code, tmp_path)
