"""Arrow IPC files, which Feather is another name for; the metadata stands in the schema.

Nothing is compressed, so that readers can map a file into memory as it is.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from argosy.batch.sink.file import Output
from argosy.batch.source.shape import arrow

GROUP = 1024 * 1024
"""Small groups are written while they lie in the processor's cache, and readers lose nothing by them."""


def opened(output: Output, schema: Any, metadata: Mapping[str, str]) -> AbstractContextManager[Any]:
    """See `Module`."""
    ipc = arrow().ipc
    return ipc.new_file(output, schema.with_metadata(dict(metadata)))
