"""The formats a job reads: what is in a file, how it is cut into fragments, and the rows of a fragment."""

import importlib
from collections.abc import Iterator
from typing import Any, Protocol, cast

from argosy.batch.fragment import File, Fragment, InputFormat
from argosy.batch.place import Place


class Source(Protocol):
    """A module of this folder. None of its functions reads a whole file into memory."""

    def schema(self, file: File) -> Any:
        """The columns of a file, in the types in which they are read. Raises InvalidArgument for a broken file."""
        ...

    def plan(self, file: File, rows: int) -> list[Fragment]:
        """Its pieces of about so many rows, in the order of the file; none where it has no rows."""
        ...

    def read(self, fragment: Fragment, skip: int, batch_rows: int, schema: Any) -> Iterator[Any]:
        """The rows of a piece in order, without the first `skip`, in record batches of at most `batch_rows`.

        `schema` names the columns that are wanted, in the types they come in (`columns.Mapping.reads`). A value that
        is none such is null, and the reason stands in a further column `FAULT`. Raises Conflict where the content has
        changed.
        """
        ...


def source(format: InputFormat) -> Source:
    return cast("Source", importlib.import_module(f"{__name__}.{format}"))


def in_memory(file: File) -> bool:
    """Whether the rows of a file are mapped into memory as they lie in it, so that reading in advance gains nothing."""
    return file.format in ("arrow", "npy") and not Place(file.url).remote
