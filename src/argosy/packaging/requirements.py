"""What a package needs installed: recorded when it is built, checked before it is loaded."""

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from argosy.spec.errors import InvalidArgument, MissingExtra
from argosy.spec.install import extras, pip

FRAMEWORKS: dict[str, tuple[str, ...]] = {
    "onnx": ("onnxruntime",),
    "sklearn": ("scikit-learn",),
    "xgboost": ("xgboost", "xgboost-cpu"),
    "lightgbm": ("lightgbm",),
    "catboost": ("catboost",),
    "mlflow": ("mlflow", "mlflow-skinny"),
    "torch": ("torch",),
    "python": (),
    "encoder": ("tokenizers",),
}
"""The distributions, of which one has to be there, that run an engine."""

PICKLED = {"lightgbm": "lightgbm", "xgboost": "xgboost", "xgboost-cpu": "xgboost"}
"""Distribution → the package by which a pickle of scikit-learn's kind names it."""

EXTRAS = {
    name: "encoders" if engine == "encoder" else engine
    for engine, names in FRAMEWORKS.items()
    if engine != "onnx"
    for name in names
}
"""Distribution → the extra of Argosy that brings it, with what else its engine needs."""

SAME = {name: other for names in FRAMEWORKS.values() for name in names for other in names if name != other}
"""Distributions that bring the same package: either will do."""


class Needs(NamedTuple):
    """What a package requires; whether somebody vouches for it; its digest in the store of the home, if that has it."""

    lines: Sequence[str]
    trusted: bool = False
    stored: str = ""


def of_engine(engine: str, names: Iterable[str] = ()) -> tuple[str, ...]:
    """`package==version` of the engine's framework as installed now (of others' engine: their distribution), and of the
    packages a pickle names.

    A pickle is only safe to read with the version that wrote it; formats made to last get a lower bound instead.
    """
    pinned = engine in ("sklearn", "mlflow", "torch")
    frameworks = FRAMEWORKS.get(engine)
    if frameworks is None:
        from argosy.engines import entry_point

        distribution = entry_point(engine).dist
        frameworks = (distribution.name,) if distribution else ()
    found = {name: version for name in frameworks if (version := installed(name))}
    found |= {name: version for name, root in PICKLED.items() if root in names and (version := installed(name))}
    return tuple(f"{name}{'==' if pinned else '>='}{version}" for name, version in sorted(found.items()))


def installed(name: str, path: list[str] | None = None) -> str:
    """The version of a distribution that is installed, on `path` instead of `sys.path`; empty where it is not there."""
    from importlib.metadata import distributions

    return next((each.version for each in distributions(name=name, path=path or sys.path)), "") if name else ""


def read(path: Path) -> tuple[str, ...]:
    """The requirements of a requirements.txt. Raises InvalidArgument for a line that is none (options, paths, URLs)."""
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in path.read_text("utf-8", errors="replace").splitlines())
    return tuple(_checked(line, f"{path.name}: ") for line in lines if line)


def _checked(line: str, where: str) -> str:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(line)
    except InvalidRequirement:
        raise InvalidArgument(f"{where}'{line[:100]}' is no requirement; write  name==version") from None
    if requirement.url:
        raise InvalidArgument(f"{where}'{line[:100]}' names a URL; name a package and its version")
    return str(requirement)


def check_all(lines: Iterable[str]) -> tuple[str, ...]:
    """The same requirements, in canonical spelling. Raises InvalidArgument."""
    return tuple(_checked(line, "requirement ") for line in lines)


def are_known(lines: Iterable[str]) -> bool:
    """Whether all are frameworks of engines of Argosy."""
    from packaging.requirements import Requirement

    return all(Requirement(line).name in EXTRAS for line in lines)


def lacking(lines: Iterable[str], version_of: Callable[[str], str] | None = None) -> list[str]:
    """Those that are not there in a version that fits, and behind each in brackets what is: of what is installed, or
    has a version otherwise."""
    from packaging.requirements import Requirement

    found, version_of = list[str](), version_of or installed
    for line in lines:
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        version = version_of(requirement.name) or version_of(SAME.get(requirement.name, ""))
        if not version or not requirement.specifier.contains(version, prereleases=True):
            found.append(f"{line} ({f'{version} is installed' if version else 'not installed'})")
    return found


def check_installed(lines: Iterable[str]) -> None:
    """Raise MissingExtra, with the command that installs them, unless everything is there in a version that fits."""
    from packaging.requirements import Requirement

    if missing := lacking(lines):
        wanted: list[str] = []
        for line in (each.split(" (")[0] for each in missing):
            name = Requirement(line).name
            extra = EXTRAS.get(name, "") if not installed(name) else ""
            wanted += [extras(extra)] if extra else []
            wanted += [f"'{line}'"] if not extra or "==" in line else []
        command = " ".join(wanted)
        raise MissingExtra(f"this model needs {', '.join(missing)}: run  {pip()} {command}")
