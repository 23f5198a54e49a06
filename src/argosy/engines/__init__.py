"""Engines execute a model package's weights: `load(name, path, signature=...)` gives one with `predict`.

The module of an engine is imported when it is first used; other distributions add theirs by entry point.
"""

import importlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from argosy.engines.base import Engine, Loading, Settings
from argosy.engines.renamed import Renamed, own
from argosy.process.cores import cores
from argosy.spec.errors import InvalidArgument
from argosy.spec.matching import check_domains
from argosy.spec.package import ENGINES
from argosy.spec.signature import Signature
from argosy.spec.tensor import Array

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["Engine", "entry_point", "load", "names"]

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
"""onnxruntime sends its makers what it runs, from its import on, unless it is told not to before (its Privacy.md)."""

GROUP = "argosy.engines"

Loader = Callable[[Loading], Engine]
"""What an engine module's `load`, and an entry point of the group `argosy.engines`, has to be."""


def load(
    name: str,
    path: Path,
    *,
    signature: Signature | None = None,
    settings: Settings | None = None,
    threads: int = 0,
    sample: Mapping[str, Array] | None = None,
    trusted: bool = False,
) -> Engine:
    """Load the weights at `path` (a file or a folder) with the engine of this name.

    `signature=None`, a signature without outputs, and `sample` (rows by input name) are for packaging: the engine then
    finds out what it can. `threads` 0 takes the cores this process may use. `trusted`: the caller vouches for the
    weights, which may then run code of their author. Raises BadPackage for weights that are broken or do something they
    must not, Untrusted for code nobody vouched for, MissingExtra for a framework that is not installed, InvalidArgument
    for settings or a signature that do not fit.
    """
    if name in ENGINES:
        loader: Loader = importlib.import_module(f"argosy.engines.{name}").load
    else:
        loader = entry_point(name).load()
    renamed = signature is not None and any(spec.source for spec in (*signature.inputs, *signature.outputs))
    names = own(signature) if signature is not None and renamed else signature
    engine = loader(Loading(path, names, settings or {}, threads or cores(), sample, trusted))
    return _bounded(Renamed(engine, signature) if signature is not None and renamed else engine)


def _bounded(engine: Engine) -> Engine:
    """The engine, which refuses what the domains of its inputs leave out before it is asked."""
    bounded = [(spec, spec.domain.safe) for spec in engine.signature.inputs if spec.domain is not None]
    answer = engine.predict

    def predict(inputs: Mapping[str, Array]) -> list[Array]:
        check_domains(bounded, inputs)
        return answer(inputs)

    if bounded:
        engine.predict = predict
    return engine


def entry_point(name: str) -> "EntryPoint":
    """The entry point of an engine of another distribution. Raises InvalidArgument with the names of all engines."""
    from importlib.metadata import entry_points

    found = next((point for point in entry_points(group=GROUP) if point.name == name), None)
    if found is None:
        raise InvalidArgument(f"there is no engine '{name[:80]}'; there are {', '.join(names())}")
    return found


def names() -> tuple[str, ...]:
    """Every engine: ours, then those of other distributions."""
    from importlib.metadata import entry_points

    others = sorted(point.name for point in entry_points(group=GROUP))
    return (*ENGINES, *(name for name in others if name not in ENGINES))
