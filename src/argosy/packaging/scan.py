"""What a model file would run when loaded, for the user to see before it is trusted.

Pickles and skops files are loaded under the allow-list of `engines.allow`, by the same code that loads them in a
replica; the verdict is "clean" only where that load went through. It happens in a child process (`quarantine`): a file
can still take memory and time.
"""

import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from argosy.engines import mlflow_file, skops_file, unpickle
from argosy.engines.mlflow_rules import every_file, regular
from argosy.packaging import detect
from argosy.packaging.detect import Format
from argosy.spec.errors import BadPackage
from argosy.spec.package import Scan

CODE = (".py", ".pyc", ".pyo", ".pyd", ".pyw", ".so", ".dll", ".dylib", ".pth", ".egg", ".whl", ".pyz", ".jar")
_NATIVE = (b"\x7fELF", b"MZ", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
_ARRAY = b"\x93NUMPY"

Weigh = Callable[[Path, bool], tuple[str, ...]]
"""The objections to a file of weights, which is a skops file or else a pickle."""


def objections(folder: Path, weigh: Weigh) -> tuple[str, ...]:
    """What nobody vouches for. Raises BadPackage for a broken folder, and for one with links in it."""
    about = mlflow_file.read(folder)
    found = list(about.objections)
    weights = regular(folder, about.weights.file) if about.weights else None
    for name, file in every_file(folder):
        found += _file(name, file, weigh, serves=file == weights)
    return tuple(found)


def _file(name: str, file: Path, weigh: Weigh, *, serves: bool) -> list[str]:
    if file.suffix.lower() in CODE:
        return [f"code {name}"]
    if not file.stat().st_size:
        return []
    start = detect.File(file)
    if detect.is_skops(start) or detect.is_pickle(start):
        try:
            return list(weigh(file, detect.is_skops(start)))
        except BadPackage:
            if serves:
                raise
            return [f"broken pickle {name}"]
    if start.head.startswith(_NATIVE):
        return [f"code {name}"]
    if zipfile.is_zipfile(file) or start.plain[257:262] == b"ustar":
        return [f"archive {name}"]
    return [f"pickled array {name}"] if start.plain.startswith(_ARRAY) and b"O" in _types(start.plain) else []


def _types(head: bytes) -> bytes:
    """The part of an array's header that may name a type of objects."""
    return head[len(_ARRAY) : 4096].partition(b"fortran_order")[0].partition(b"descr")[2]


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

    packages: set[str] = set()

    def weigh(file: Path, skops: bool) -> tuple[str, ...]:
        found = (_skops if skops else _pickle)(file)
        packages.update(found.packages)
        return found.scan.objections

    return ScanResult(_scan_of(objections(path, weigh)), tuple(sorted(packages)))


SCANS: dict[str, Callable[[Path], ScanResult]] = {
    "joblib": _pickle,
    "pickle": _pickle,
    "skops": _skops,
    "mlflow": _mlflow,
    "torch-export": _torch,
    "python": _code,
}
