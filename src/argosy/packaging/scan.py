"""What a model file would run when loaded, for the user to see before it is trusted.

Pickles and skops files are loaded under the allow-list of `engines.allow`, by the same code that loads them in a
replica; the verdict is "clean" only where that load went through. It happens in a child process (`quarantine`): a file
can still take memory and time.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from argosy.engines import skops_file, unpickle
from argosy.packaging.detect import Format
from argosy.spec.package import Scan


class ScanResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The verdict, and the top-level packages that the file's names come from."""

    scan: Scan
    packages: tuple[str, ...] = ()


def _scan_of(objections: Iterable[str]) -> Scan:
    found = tuple(sorted(set(objections)))
    return Scan(verdict="objected" if found else "clean", objections=found)


def scan(path: Path, kind: Format) -> ScanResult:
    """The verdict on a model file or folder. Raises BadPackage for a broken one, MissingExtra for a framework."""
    return SCANS.get(kind, _data_only)(path)


class Scanned(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is scanned in a child process: the path of a model file or folder, and its format."""

    path: str
    kind: Format


def job(scanned: Scanned) -> ScanResult:
    """`scan`, as a job of `quarantine`."""
    return scan(Path(scanned.path), scanned.kind)


def _data_only(path: Path) -> ScanResult:
    return ScanResult(Scan(verdict="data-only"))


def _code(path: Path) -> ScanResult:
    return ScanResult(Scan(verdict="code"))


def _pickle(path: Path) -> ScanResult:
    return _judged(unpickle.contents(path))


def _skops(path: Path) -> ScanResult:
    return _judged(skops_file.contents(path))


def _judged(found: unpickle.Contents) -> ScanResult:
    packages = {module.partition(".")[0] for module, _ in found.names}
    return ScanResult(_scan_of(found.objections), tuple(sorted(packages)))


def _torch(path: Path) -> ScanResult:
    from argosy.engines import torch_file

    return ScanResult(_scan_of(torch_file.objections(path)))


def _mlflow(path: Path) -> ScanResult:
    from argosy.packaging import mlflow_scan

    packages: set[str] = set()

    def weigh(file: Path, skops: bool) -> tuple[str, ...]:
        found = (_skops if skops else _pickle)(file)
        packages.update(found.packages)
        return found.scan.objections

    return ScanResult(_scan_of(mlflow_scan.objections(path, weigh)), tuple(sorted(packages)))


SCANS: dict[str, Callable[[Path], ScanResult]] = {
    "joblib": _pickle,
    "pickle": _pickle,
    "skops": _skops,
    "mlflow": _mlflow,
    "torch-export": _torch,
    "python": _code,
}
