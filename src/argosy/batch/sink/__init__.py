"""The formats a job writes: record batches in, one durable file out, the same bytes for the same rows."""

import importlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, cast

from argosy.batch.fragment import Part
from argosy.spec.batch import Format


class Sink(Protocol):
    """A module of this folder."""

    def write(self, batches: Iterable[Any], schema: Any, path: Path, metadata: Mapping[str, str]) -> Part:
        """Write the batches, all of `schema`, to a local file; it is durable when this returns. Raises StorageFull."""
        ...


def sink(format: Format) -> Sink:
    """The sink of a format."""
    return cast("Sink", importlib.import_module(f"{__name__}.{format}"))
