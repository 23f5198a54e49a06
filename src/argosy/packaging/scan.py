"""What a model file would run when loaded, for the user to see before it is trusted.

Pickles and skops files are loaded under the allow-list of `engines.allow`, by the same code that loads them in a
replica; the verdict is "clean" only where that load went through. It happens in a child process (`quarantine`): a file
can still take memory and time.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from argosy.engines import skops_file, unpickle
from argosy.packaging.detect import Format
from argosy.spec.package import Scan


class Finding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The verdict, and the top-level packages that the file's names come from."""

    scan: Scan
    packages: tuple[str, ...] = ()


def _scan_of(objections: Iterable[str]) -> Scan:
    found = tuple(sorted(set(objections)))
    return Scan(verdict="objected" if found else "clean", objections=found)


def scan(path: Path, kind: Format) -> Finding:
    """The verdict on a model file or folder. Raises BadPackage for a broken one, MissingExtra for a framework."""
    return SCANS.get(kind, _data_only)(path)


def job(path: str, kind: Format) -> Any:
    """`scan`, as a job of `quarantine`."""
    return msgspec.to_builtins(scan(Path(path), kind))


def _data_only(path: Path) -> Finding:
    return Finding(Scan(verdict="data-only"))


def _code(path: Path) -> Finding:
    return Finding(Scan(verdict="code"))


def _pickle(path: Path) -> Finding:
    return _judged(unpickle.contents(path))


def _skops(path: Path) -> Finding:
    return _judged(skops_file.contents(path))


def _judged(found: unpickle.Contents) -> Finding:
    packages = {module.partition(".")[0] for module, _ in found.names}
    return Finding(_scan_of(found.objections), tuple(sorted(packages)))


def _torch(path: Path) -> Finding:
    from argosy.engines import torch_file

    return Finding(_scan_of(torch_file.objections(path)))


LOADERS = frozenset({"mlflow.sklearn", "mlflow.xgboost", "mlflow.lightgbm", "mlflow.onnx", "mlflow.pyfunc.model"})
"""MLflow's own loader modules, whose files we know how to scan."""


def _mlflow(path: Path) -> Finding:
    """Every pickle of the folder, a loader that is not MLflow's own, and code that would be imported."""
    from argosy.engines import mlflow_file

    loader = mlflow_file.read(path).loader
    objections = [] if loader in LOADERS else [f"loader_module {loader}"]
    for file in sorted(path.rglob("*")):
        if file.is_file():
            objections += _mlflow_file(file, file.relative_to(path).as_posix()).scan.objections
    return Finding(_scan_of(objections))


def _mlflow_file(file: Path, name: str) -> Finding:
    if file.suffix == ".py":
        return Finding(_scan_of([f"code {name}"]))
    if file.suffix == ".skops":
        return _skops(file)
    with file.open("rb") as handle:
        head = handle.read(1)
    pickled = head == b"\x80" or file.suffix in (".pkl", ".pickle", ".joblib", ".cloudpickle")
    return _pickle(file) if pickled else _data_only(file)


SCANS: dict[str, Callable[[Path], Finding]] = {
    "joblib": _pickle,
    "pickle": _pickle,
    "skops": _skops,
    "mlflow": _mlflow,
    "torch-export": _torch,
    "python": _code,
}
