"""Engines execute a model package's weights: `load(name, path, signature=...)` gives one with `predict`."""

from argosy.engines.base import Engine
from argosy.engines.registry import load, names

__all__ = ["Engine", "load", "names"]
