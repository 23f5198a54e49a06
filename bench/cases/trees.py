"""A forest of digits as C (50 trees, depth 10): bytes of `-Os` text, seconds to compile, share of right labels.

m2cgen and emlearn stand beside it where they are installed in this environment.
"""

import ctypes
import importlib.util
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from argosy.embedded import trees
from argosy.embedded.code import Port
from argosy.engines.trees import sklearn
from bench.results import Target
from bench.rounds import Bench
from bench.servers import Unavailable

NAME = "trees"
TARGETS = [
    Target(NAME, "bytes of text", "<=", 42_000),
    Target(NAME, "compile", "<=", 1.0),
    Target(NAME, "labels of scikit-learn", ">=", 1.0),
]
SPLIT = 1257
"""Rows to train on; the others are asked."""


def forest() -> tuple[Any, Any]:
    """The model, and rows of float32 that it has not seen."""
    from sklearn.datasets import load_digits
    from sklearn.ensemble import RandomForestClassifier

    x, y = load_digits(return_X_y=True)
    model = RandomForestClassifier(n_estimators=50, max_depth=10, random_state=0).fit(x[:SPLIT], y[:SPLIT])
    return model, x[SPLIT:].astype(np.float32)


def argosy(model: Any) -> dict[str, str]:
    """Files of C; `label` answers a row."""
    ports = Port(name="label", tensors=("label",), size=1, kind="int32_t"), Port(name="p", tensors=("p",), size=10)
    code = trees.code(sklearn.read(model), "digits", "digits:1", (Port(name="x", tensors=("x",), size=64),), ports)
    asked = (
        '#include "digits.h"\nint label(const float *x)\n{\n  int32_t found[1];\n  float p[10];\n'
        "  return digits_predict(x, found, p) ? -1 : found[0];\n}\n"
    )
    return {**code.files, "digits_test.c": asked}


def m2cgen(model: Any) -> dict[str, str]:
    """As `argosy`."""
    needed("m2cgen")
    import m2cgen as peer  # pyright: ignore[reportMissingImports]

    sys.setrecursionlimit(100_000)
    asked = (
        "void score(double *, double *);\nint label(const float *x)\n{\n"
        "  double given[64], found[10];\n  int i, best = 0;\n"
        "  for (i = 0; i < 64; i++)\n    given[i] = x[i];\n  score(given, found);\n"
        "  for (i = 1; i < 10; i++)\n    if (found[i] > found[best])\n      best = i;\n  return best;\n}\n"
    )
    return {"digits.c": peer.export_to_c(model), "digits_test.c": asked}


def emlearn(model: Any) -> dict[str, str]:
    """As `argosy`: the default, inline with features of int16."""
    needed("emlearn")
    import emlearn as peer  # pyright: ignore[reportMissingImports]

    code = peer.convert(model, method="inline").save(name="digits", format="c")
    include = Path(peer.includedir)
    asked = (
        "#include <stdint.h>\nint32_t digits_label(const int16_t *, int);\nint label(const float *x)\n{\n"
        "  int16_t given[64];\n  int i;\n  for (i = 0; i < 64; i++)\n    given[i] = (int16_t)x[i];\n"
        "  return digits_label(given, 64);\n}\n"
    )
    text = code + "\nint32_t digits_label(const int16_t *x, int n)\n{\n  return digits_predict(x, n);\n}\n"
    return {"digits.c": text, "digits_test.c": asked, "include": str(include)}


def needed(name: str) -> None:
    if importlib.util.find_spec(name) is None:
        raise Unavailable(f"{name} is not installed: uv pip install {name}")


def run(bench: Bench) -> None:
    """Each once: nothing of it is a matter of chance but the compiler's time."""
    model, rows = forest()
    for name, write in (("argosy", argosy), ("m2cgen", m2cgen), ("emlearn", emlearn)):
        try:
            measure(bench, name, write(model), model, rows)
        except (Unavailable, subprocess.CalledProcessError) as error:
            bench.results.failures[f"{NAME}: {name}"] = str(error)


def measure(bench: Bench, name: str, files: dict[str, str], model: Any, rows: Any) -> None:
    folder = bench.folder / f"trees-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    include = [f"-I{path}" for path in [files.pop("include", "")] if path]
    for file, text in files.items():
        (folder / file).write_text(text)
    began = time.perf_counter()
    subprocess.run(["gcc", "-Os", "-c", *include, "digits.c"], cwd=folder, check=True, capture_output=True)
    bench.results.add(NAME, "compile", "s", name, time.perf_counter() - began)
    said = subprocess.run(["size", "digits.o"], cwd=folder, check=True, capture_output=True, text=True).stdout
    bench.results.add(NAME, "bytes of text", "B", name, float(said.splitlines()[1].split()[0]))
    library = ["gcc", "-O1", "-shared", "-fPIC", *include, "digits.c", "digits_test.c", "-o", "digits.so"]
    subprocess.run(library, cwd=folder, check=True, capture_output=True)
    label = ctypes.CDLL(str(folder / "digits.so")).label
    found = [label(ctypes.c_void_p(row.ctypes.data)) for row in np.ascontiguousarray(rows)]
    share = float((np.array(found) == model.predict(rows)).mean())
    bench.results.add(NAME, "labels of scikit-learn", "", name, share)
