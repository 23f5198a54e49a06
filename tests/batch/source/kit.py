"""Files for sources, and all that a source makes of them."""

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
        whole = [row for batch in batches for row in batch.to_pylist()]
        if fragment.rows is not None:
            assert (fragment.rows, fragment.first) == (len(whole), first)
        later = [row for batch in module.read(fragment, skip, batch_rows, wanted) for row in batch.to_pylist()]
        assert later == whole[skip:]
        first += len(whole)
        found += whole
    return found
