"""Engines execute a model package's weights: `load(name, path, signature=...)` gives one with `predict`."""

import os

from argosy.engines.base import Engine
from argosy.engines.registry import load, names

__all__ = ["Engine", "load", "names"]

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
"""onnxruntime sends its makers what it runs, from its import on, unless it is told not to before (its Privacy.md)."""
