"""Packages of trees, and C that is compiled and asked."""

import ctypes
import functools
import http.server
import json
import subprocess
import threading

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


@pytest.fixture(scope="session")
def recurrent(tmp_path_factory):
    """A network without C, as steps may be any number: rows of steps of 3 values."""
    from tests.embedded.nets.kit import node, random, write

    nodes = [
        node("Transpose", ["x"], ["steps"], perm=[1, 0, 2]),
        node("LSTM", ["steps", "w", "r"], ["", "last"], hidden_size=4),
        node("Squeeze", ["last", "axis"], ["y"]),
    ]
    constants = {"w": random(1, 16, 3), "r": random(1, 16, 4), "axis": np.array([0])}
    return write(tmp_path_factory.mktemp("lstm") / "steps.onnx", nodes, ["T", 3], ["y"], constants)


class Compiled:
    """The function of generated C, as a shared library: rows in, arrays of its output ports out."""

    def __init__(self, code, folder):
        programs.need("gcc")
        for name, text in code.files.items():
            (folder / name).write_text(text)
        sizes = [port.size for port in (*code.inputs, *code.outputs)]
        given = "".join(f", {port.kind} *p{at}" for at, port in enumerate((*code.inputs, *code.outputs)))
        moved = ", ".join(f"p{at} + row * {size}" for at, size in enumerate(sizes))
        (folder / "every.c").write_text(
            f'#include "{code.name}.h"\nvoid every(int rows, int32_t *refused{given});\n'
            f"void every(int rows, int32_t *refused{given})\n{{\n  int row;\n"
            f"  for (row = 0; row < rows; row++)\n    refused[row] = {code.name}_predict({moved});\n}}\n"
        )
        library = folder / "every.so"
        strict = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic")
        sources = (f"{code.name}.c", "every.c")
        subprocess.run(
            ["gcc", "-Os", *strict, "-shared", "-fPIC", *sources, "-o", str(library)], cwd=folder, check=True
        )
        self.code = code
        self.function = ctypes.CDLL(str(library)).every

    def ask(self, rows):
        """Answers for all rows, and the numbers of those that the function does not answer."""
        kinds = {"float": np.float32, "int32_t": np.int32}
        found = [np.zeros((len(rows), port.size), kinds[port.kind]) for port in self.code.outputs]
        refused = np.zeros(len(rows), np.int32)
        arrays = (refused, np.ascontiguousarray(rows, np.float32), *found)
        self.function(len(rows), *(ctypes.c_void_p(each.ctypes.data) for each in arrays))
        return found, np.flatnonzero(refused).tolist()


@pytest.fixture
def compiled(tmp_path):
    return lambda code: Compiled(code, tmp_path)


@pytest.fixture(scope="session")
def onnxruntime_web(tmp_path_factory):
    """A folder where npm has installed it."""
    return programs.onnxruntime_web(tmp_path_factory.mktemp("npm"))


@pytest.fixture
def in_a_browser(tmp_path_factory):
    """What the page of a folder answers to its example, and what it answers once its server is gone."""
    return lambda folder: _in_a_browser(folder, tmp_path_factory.mktemp("chromium"))


def _in_a_browser(folder, temporary):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    driver = programs.chromium(temporary)
    wait = WebDriverWait(driver, 60)

    def asked():
        driver.get(f"http://127.0.0.1:{server.server_port}/")
        wait.until(lambda _: driver.find_element(By.ID, "selftest").text != "…")
        assert driver.find_element(By.ID, "selftest").text == "16 of 16 answered as they have to be"
        assert not driver.execute_script("return self.crossOriginIsolated")
        wait.until(lambda _: driver.find_element(By.ID, "predict").is_enabled())
        driver.find_element(By.ID, "predict").click()
        return json.loads(wait.until(lambda _: driver.find_element(By.ID, "answer").text))

    try:
        first = asked()
        wait.until(lambda _: driver.execute_script("return !!navigator.serviceWorker.controller"))
        server.shutdown()
        server.server_close()
        return first, asked()
    finally:
        driver.quit()
        server.shutdown()
        server.server_close()
        thread.join()
