"""What an MLflow folder would run when it is loaded: what its MLmodel names, and what lies in it, told by content.

Without trust no more than the one file of weights is ever read (`engines.mlflow_rules`). The rest is looked at for the
user, who is to know what is in a folder before trusting it.
"""

import zipfile
from collections.abc import Callable
from pathlib import Path

from argosy.engines import mlflow_file
from argosy.engines.mlflow_rules import every_file, regular
from argosy.packaging import detect
from argosy.spec.errors import BadPackage

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
