"""The formats a job writes: record batches in, one durable file out, its rows in the same groups however they came."""

import importlib
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, cast

from argosy.batch.fragment import Part
from argosy.batch.sink.file import Output, grouped, writing
from argosy.spec.batch import Format


class Writer(Protocol):
    """What has a file open."""

    def write_table(self, table: Any) -> object:
        """Write some rows, together where the format has groups."""
        ...


class Module(Protocol):
    """A module of this folder. `GROUP`: about so many bytes are written together."""

    GROUP: int

    def opened(self, output: Output, schema: Any, metadata: Mapping[str, str]) -> AbstractContextManager[Writer]:
        """A writer of rows of the schema into an open file, which is whole once the block has ended."""
        ...


class Sink:
    """One format."""

    def __init__(self, module: Module) -> None:
        self.opened, self._group = module.opened, module.GROUP

    def write(self, batches: Iterable[Any], schema: Any, path: Path, metadata: Mapping[str, str]) -> Part:
        """Write the batches, all of `schema`, to a local file; it is durable when this returns. Raises StorageFull."""
        with writing(path) as output, self.opened(output, schema, metadata) as writer:
            for table in grouped(batches, schema, self._group):
                writer.write_table(table)
                output.rows += table.num_rows
        return output.part()


def sink(format: Format) -> Sink:
    """The sink of a format."""
    return Sink(cast("Module", importlib.import_module(f"{__name__}.{format}")))
