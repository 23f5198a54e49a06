"""CSV with a header, in UTF-8; text stands in quotes, a missing value is empty. It has no place for metadata."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, cast

from argosy.batch.sink.file import GROUP_BYTES, Output
from argosy.engines.base import require

GROUP = GROUP_BYTES


def opened(output: Output, schema: Any, metadata: Mapping[str, str]) -> AbstractContextManager[Any]:
    """See `Module`."""
    module = cast("Any", require("pyarrow.csv", "batch", "CSV"))
    return module.CSVWriter(output, schema)
