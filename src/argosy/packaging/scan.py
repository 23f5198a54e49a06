"""What a model file would run when loaded, for the user to see before it is trusted.

Pickles and skops files are loaded under the allow-list of `engines.allow`, by the same code that loads them in a
replica; the verdict is "clean" only where that load went through. It happens in a child process (`quarantine`): a file
can still take memory and time.
"""

import zipfile
from pathlib import Path

import msgspec

from argosy.engines import mlflow_file, unpickle
from argosy.engines.allow import Name
from argosy.engines.catboost import OBJECTION
from argosy.engines.unpickle import Contents
from argosy.packaging import detect
from argosy.packaging.detect import Format
from argosy.spec.errors import BadPackage
from argosy.spec.package import Scan

CODE = (".py", ".pyc", ".pyo", ".pyd", ".pyw", ".so", ".dll", ".dylib", ".pth", ".egg", ".whl", ".pyz", ".jar")
_NATIVE = (b"\x7fELF", b"MZ", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
_ARRAY = b"\x93NUMPY"


class Scanned(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is scanned in a child process: the path of a model file or folder, and its format."""

    path: str
    kind: Format


class ScanResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The verdict, and the top-level packages that the file's names come from."""

    scan: Scan
    packages: tuple[str, ...] = ()


def job(scanned: Scanned) -> ScanResult:
    """`scan`, as a job of `quarantine`."""
    return scan(Path(scanned.path), scanned.kind)


def scan(path: Path, kind: Format) -> ScanResult:
    """The verdict on a model file or folder. Raises BadPackage for a broken one, MissingExtra for a framework."""
    if kind == "python":
        return ScanResult(Scan(verdict="code"))
    if kind in ("joblib", "pickle", "skops"):
        found = unpickle.contents(path)
    elif kind == "mlflow":
        found = _folder(path)
    elif kind == "catboost":
        found = Contents((), (OBJECTION,))
    elif kind == "torch-export":
        from argosy.engines import torch_file

        found = Contents((), tuple(torch_file.objections(path)))
    else:
        return ScanResult(Scan(verdict="data-only"))
    objections = tuple(sorted(set(found.objections)))
    packages = {module.partition(".")[0] for module, _ in found.names}
    return ScanResult(
        Scan(verdict="objected" if objections else "clean", objections=objections), tuple(sorted(packages))
    )


def _folder(folder: Path) -> Contents:
    about = mlflow_file.read(folder)
    names, objections = list[Name](), list(about.objections)
    weights = mlflow_file.regular(folder, about.weights.file) if about.weights else None
    for name, file in mlflow_file.every_file(folder):
        found = _file(name, file, serves=file == weights)
        names += found.names
        objections += found.objections
    return Contents(tuple(names), tuple(objections))


def _file(name: str, file: Path, *, serves: bool) -> Contents:
    if file.suffix.lower() in CODE:
        return Contents((), (f"code {name}",))
    if not file.stat().st_size:
        return Contents((), ())
    start = detect.File(file)
    if detect.format_of(start) in ("skops", "joblib", "pickle"):
        try:
            return unpickle.contents(file)
        except BadPackage:
            if serves:
                raise
            return Contents((), (f"broken pickle {name}",))
    if start.head.startswith(_NATIVE):
        return Contents((), (f"code {name}",))
    if zipfile.is_zipfile(file) or start.plain[257:262] == b"ustar":
        return Contents((), (f"archive {name}",))
    header = start.plain[len(_ARRAY) : 4096].partition(b"fortran_order")[0].partition(b"descr")[2]
    objects = start.plain.startswith(_ARRAY) and b"O" in header
    return Contents((), (f"pickled array {name}",) if objects else ())
