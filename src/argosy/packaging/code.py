"""Code that a pickled model needs: a folder, a Python file or a wheel, copied beside the weights.

To name it is to want it run. It is importable where the model is loaded, which is the model's own process.
"""

import shutil
import zipfile
from collections.abc import Iterable
from pathlib import Path

from argosy.engines.unpickle import CODE as FOLDER
from argosy.spec.errors import BadPackage, InvalidArgument, NotFound
from argosy.store.paths import walk

IGNORED = ("__pycache__", ".git", ".ipynb_checkpoints", ".DS_Store", ".mypy_cache", ".ruff_cache", ".venv")
"""Names that are left out of a folder of Python code."""

PICKLED = ("joblib", "pickle", "skops")
"""Formats of models that name their classes, and so can need code."""


def copy(source: Path, kind: str, weights: Path, limit: int) -> tuple[str, ...]:
    """Copy the code beside the `weights` of a model of this format; answer the modules and packages that it has.
    Raises InvalidArgument, NotFound, BadPackage for links and what is no code."""
    if kind not in PICKLED:
        raise InvalidArgument("--code goes with a pickled model (joblib, pickle, skops); a folder has its own code")
    if not source.exists():
        raise NotFound(f"there is no code {source}")
    into = weights.parent / FOLDER
    if source.is_dir():
        files = [each for each in walk(source, limit) if set(IGNORED).isdisjoint(each.path.split("/"))]
        for each in files:
            place = into / each.path
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(each.file, place, follow_symlinks=False)
        return _modules(each.path for each in files)
    if source.is_symlink() or source.suffix not in (".py", ".whl"):
        raise BadPackage(f"{source.name} is no code: a folder, a .py file or a .whl is")
    into.mkdir()
    shutil.copyfile(source, into / source.name, follow_symlinks=False)
    if source.suffix == ".py":
        return _modules([source.name])
    try:
        with zipfile.ZipFile(source) as wheel:
            names = wheel.namelist()
    except zipfile.BadZipFile as error:
        raise BadPackage(f"{source.name} is a broken wheel: {error}") from None
    if native := next((name for name in names if name.endswith((".so", ".pyd"))), ""):
        raise BadPackage(f"{source.name} has the native library {native}: install it, and name it in --requirements")
    return _modules(names)


def _modules(paths: Iterable[str]) -> tuple[str, ...]:
    """The top-level modules and packages among files of a folder."""
    found = {path.partition("/")[0].removesuffix(".py") for path in paths if path.endswith(".py")}
    if not found:
        raise InvalidArgument("the code has no Python files")
    return tuple(sorted(found))


def foreign(objections: Iterable[str], modules: tuple[str, ...]) -> tuple[str, ...]:
    """The objections to names that are not of this code."""
    return tuple(name for name in objections if name.partition(".")[0] not in modules)
