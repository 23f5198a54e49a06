"""Arrow IPC files, which Feather is another name for; the metadata stands in the schema."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from argosy.batch.sink.file import Output
from argosy.batch.source.shape import arrow


def opened(output: Output, schema: Any, metadata: Mapping[str, str]) -> AbstractContextManager[Any]:
    """See `Module`."""
    ipc = arrow().ipc
    options = ipc.IpcWriteOptions(compression="lz4")
    return ipc.new_file(output, schema.with_metadata(dict(metadata)), options=options)
