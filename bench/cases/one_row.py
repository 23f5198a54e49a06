"""One row after the other inside a program: the generated C, onnxruntime's C library, and the model's own library from
Python. Both libraries are those of `argosy export lib`, called in a loop of C; microseconds a row."""

import ctypes
import json
import subprocess
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from argosy.client.local import locate
from argosy.embedded.binaries import library
from argosy.packaging.options import PushOptions
from argosy.spec.errors import ArgosyError
from bench.rounds import Bench
from bench.servers import Unavailable

NAME = "one_row"
TARGETS = []
SECONDS = 0.5
LOOP = """
#include <stdint.h>
int loop(int (*predict)(const void *, void *, void *), const char *rows, int64_t size, int64_t count, int64_t times)
{
  static double first[64], second[64];
  int64_t at;
  int failed = 0;
  for (; times > 0; times--)
    for (at = 0; at < count; at++)
      failed |= predict(rows + at * size, first, second);
  return failed;
}
"""


def forest() -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(n_estimators=50, max_depth=10, random_state=0, n_jobs=1)


def histogram() -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=50, random_state=0)


def lightgbm() -> Any:
    import lightgbm as peer

    return peer.LGBMClassifier(n_estimators=50, n_jobs=1, verbose=-1)


def xgboost() -> Any:
    import xgboost as peer

    return peer.XGBClassifier(n_estimators=50, n_jobs=1)


def network() -> Any:
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier((64, 32), max_iter=30, random_state=0)


MODELS: dict[str, Callable[[], Any]] = {
    "forest": forest,
    "histogram boosting": histogram,
    "LightGBM": lightgbm,
    "XGBoost": xgboost,
    "network": network,
}


def run(bench: Bench) -> None:
    """Each model on digits."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    rows = np.ascontiguousarray(x[1257:], np.float32)
    asked = compiled(bench.folder)
    for name, make in MODELS.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = make().fit(x[:1257].astype(np.float32), y[:1257])
        except ImportError as error:
            bench.results.failures[f"{NAME}: {name}"] = str(error)
            continue
        folder = bench.folder / f"one-row-{name.replace(' ', '-')}"
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "sample.npy", x[:200].astype(np.float32))
        located = locate(saved(model, folder), PushOptions(sample=folder / "sample.npy", trust=True))
        try:
            package = located.open()
            for subject, engine in (("C", "c"), ("onnxruntime", "onnxruntime")):
                try:
                    made = write(folder / engine, library(package, "model", "model:1", engine))
                    bench.results.add(NAME, name, "µs", subject, in_c(asked, made, rows))
                except (ArgosyError, Unavailable) as error:
                    bench.results.failures[f"{NAME}: {name}, {subject}"] = str(error)
        finally:
            located.release()
        bench.results.add(NAME, name, "µs", "its library, from Python", in_python(model, rows))


def saved(model: Any, folder: Path) -> Path:
    """The file of a model, in its library's own format where it has one."""
    if hasattr(model, "booster_"):
        model.booster_.save_model(folder / "model.txt")
        return folder / "model.txt"
    if hasattr(model, "get_booster"):
        model.get_booster().save_model(folder / "model.json")
        return folder / "model.json"
    joblib.dump(model, folder / "model.joblib")
    return folder / "model.joblib"


def compiled(folder: Path) -> Any:
    """The loop in C."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "loop.c").write_text(LOOP)
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "loop.c", "-o", "loop.so"], cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "loop.so")).loop


def write(folder: Path, found: dict[str, bytes]) -> Path:
    for path, data in found.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def in_c(loop: Any, folder: Path, rows: Any) -> float:
    """Microseconds a row."""
    about = json.loads((folder / "signature.json").read_text())
    (given,) = about["inputs"]
    if given.get("datatype") == "FP64":
        rows = np.ascontiguousarray(rows, np.float64)
    predict = ctypes.CDLL(str(folder / "lib/libmodel.so")).model_predict

    def ask(times: int) -> None:
        size, count = rows.strides[0], len(rows)
        numbers = (ctypes.c_int64(each) for each in (size, count, times))
        if loop(predict, ctypes.c_void_p(rows.ctypes.data), *numbers):
            raise Unavailable("a row is not answered")

    return timed(lambda: ask(1), len(rows))


def in_python(model: Any, rows: Any) -> float:
    """Microseconds a row."""
    few = rows[:20]

    def ask() -> None:
        for row in few:
            model.predict_proba(row[None])

    return timed(ask, len(few))


def timed(ask: Callable[[], None], count: int) -> float:
    """The best of some calls: others on this machine only add."""
    ask()
    best, end = float("inf"), time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        began = time.perf_counter()
        ask()
        best = min(best, time.perf_counter() - began)
    return best / count * 1e6
