"""Files for sources, and all that a source makes of them."""

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from argosy.batch.find import find
from argosy.batch.fragment import FAULT, File
from argosy.batch.source import source


def file_of(path: Path | str) -> File:
    (file,) = find([str(path)])
    return file


def rows_of(file: File, rows: int, batch_rows: int = 7, schema: pa.Schema | None = None, skip: int = 0) -> list[dict]:
    """The rows of every fragment of a file, in order, without the first `skip` of each; the counts are checked."""
    module = source(file.format)
    wanted = module.schema(file).remove_metadata() if schema is None else schema
    found: list[dict] = []
    first = 0
    for index, fragment in enumerate(module.plan(file, rows)):
        assert fragment.index == index
        batches = list(module.read(fragment, 0, batch_rows, wanted))
        assert all(0 < batch.num_rows <= batch_rows for batch in batches)
        for batch in batches:
            assert [field for field in batch.schema if field.name != FAULT] == list(wanted)
        whole = _rows(batches)
        if fragment.rows is not None:
            assert (fragment.rows, fragment.first) == (len(whole), first)
        later = _rows(module.read(fragment, skip, batch_rows, wanted))
        assert repr(later) == repr(whole[skip:])
        first += len(whole)
        found += whole
    return found


def _rows(batches: Iterable[pa.RecordBatch]) -> list[dict]:
    """Rows as dicts, which have a fault where there is one."""
    rows = [row for batch in batches for row in batch.to_pylist()]
    return [{name: value for name, value in row.items() if name != FAULT or value is not None} for row in rows]
