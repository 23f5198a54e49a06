"""From an unpacked package to a served model: engine, golden examples, and a first measure of its speed."""

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

from argosy.serving.config import ModelConfig
from argosy.serving.model import ServedModel
from argosy.spec.endpoint import Runtime

if TYPE_CHECKING:
    from argosy.packaging.load import LoadedModel

_INLINE = ("onnx", "xgboost", "lightgbm")
"""Engines whose calls take as long as their data says. The user's own code, and Python frameworks, may block."""


async def load_model(config: ModelConfig, runtime: Runtime) -> ServedModel:
    """Load a package and replay its golden examples, off the event loop.

    Raises BadPackage, GoldenMismatch, MissingExtra, Untrusted.
    """
    loaded, call_ns = await asyncio.to_thread(_load, config, runtime.threads)
    manifest = loaded.package.manifest
    return ServedModel(
        config.name,
        config.version,
        loaded.engine,
        runtime,
        platform=f"argosy_{manifest.engine}",
        inline=manifest.engine in _INLINE,
        call_ns=call_ns,
    )


def _load(config: ModelConfig, threads: int) -> tuple["LoadedModel", int]:
    from argosy.packaging.load import load
    from argosy.packaging.package import open_package

    loaded = load(open_package(Path(config.package), trusted=config.trusted), threads=threads)
    return loaded, _measure(loaded)


def _measure(loaded: "LoadedModel") -> int:
    """The fastest of three one-row calls, in ns: the first ones allocate."""
    feeds = {tensor.name: tensor.array for tensor in loaded.package.golden_inputs()}
    if loaded.signature.batched:
        feeds = {name: array[:1] for name, array in feeds.items()}
    times: list[int] = []
    for _ in range(3):
        start = time.perf_counter_ns()
        loaded.engine.predict(feeds)
        times.append(time.perf_counter_ns() - start)
    return min(times)
