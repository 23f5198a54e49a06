"""Labelled predictions out: what was asked, what was answered and what turned out to be true, in one file."""

import os
import secrets
import shutil
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from argosy.monitoring.feedback import intake, sql
from argosy.monitoring.feedback.folder import LabelFolder
from argosy.spec.errors import InvalidArgument, NotFound
from argosy.store import duck
from argosy.store.durable import storage
from argosy.store.payloads import layout, segment
from argosy.store.payloads.query import source
from argosy.store.payloads.segment import Broken

FORMATS = {
    ".parquet": "FORMAT parquet, COMPRESSION zstd",
    ".csv": "FORMAT csv, HEADER",
    ".jsonl": "FORMAT json",
    ".ndjson": "FORMAT json",
}

LABELS = """(SELECT request_id, row, label, time AS label_time FROM {files}
  QUALIFY row_number() OVER (PARTITION BY request_id, row ORDER BY version DESC, time DESC, label DESC) = 1)"""
"""Each row's label that counts, as `sql.ORDER` has it."""

PREDICTIONS = """(SELECT request_id, row, time, version, weight, COLUMNS('^(input|output)\\..*') FROM {source}
  WHERE code < 400{bounds}
  QUALIFY row_number() OVER (PARTITION BY version, request_id, row ORDER BY time DESC) = 1)"""
"""What was answered, each row of a request once a version."""

LABELLED = "SELECT p.*, l.label, l.label_time FROM {predictions} p JOIN {labels} l USING (request_id, row)"


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Predictions from `since` on and before `until` (aware), of all versions or of one."""

    since: datetime | None = None
    until: datetime | None = None
    version: str = ""


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows there are, and files of the log that were broken and put aside."""

    rows: int
    broken: tuple[Broken, ...] = ()


def export(folder: LabelFolder, payloads: Path, output: Path, span: Span = Span()) -> Exported:  # noqa: B008
    """Write the labelled predictions of an endpoint, oldest first, as Parquet, CSV or JSON lines by the file's ending.

    Columns: request_id, row, time, version, weight, those of the log's inputs and outputs, label (text as it was sent)
    and label_time. `output` is there as a whole or not at all. Raises NotFound without a log or a folder to write to,
    InvalidArgument for another ending, StorageFull.
    """
    how = FORMATS.get(output.suffix.lower())
    if how is None:
        raise InvalidArgument(f"{output.name}: labelled rows are written as {', '.join(FORMATS)}")
    if not output.absolute().parent.is_dir():
        raise NotFound(f"there is no folder {output.absolute().parent}")
    if folder.endpoint not in layout.endpoints(payloads):
        raise NotFound(f"there is no payload log of '{folder.endpoint}' under {payloads}")
    with folder.locked():
        intake.seal(folder)
    with layout.shared(payloads):
        return _export(folder, payloads, output, how, span)


def _export(folder: LabelFolder, payloads: Path, output: Path, how: str, span: Span) -> Exported:
    labels = [folder.path(name) for name in folder.label_files()]
    found = [each.key for each in layout.segments(payloads, folder.endpoint, span.since, span.until)]
    broken = tuple(segment.quarantine(payloads, found))
    whole = [payloads / key for key in found if (payloads / key).exists()]
    if not labels or not whole:
        raise NotFound(f"there is nothing of '{folder.endpoint}' with a label in that time")
    scratch = folder.temporary / f"export-{secrets.token_hex(4)}"
    fresh = output.with_name(f".{output.name}.{secrets.token_hex(4)}")
    try:
        with storage(output), duck.opened(temporary=scratch) as connection:
            connection.execute(f"COPY ({_query(labels, whole, span)}) TO {duck.literal(str(fresh))} ({how})")
            rows = int(connection.fetchone()[0])
            os.replace(fresh, output)
    except duck.module().Error as error:
        raise InvalidArgument(f"the labelled rows cannot be written: {duck.first_line(error)[:300]}") from None
    finally:
        fresh.unlink(missing_ok=True)
        shutil.rmtree(scratch, ignore_errors=True)
    return Exported(rows=rows, broken=broken)


def _query(labels: Sequence[Path], segments: Sequence[Path], span: Span) -> str:
    given: dict[str, Any] = {
        "time >= ": span.since and f"TIMESTAMPTZ {duck.literal(span.since.isoformat())}",
        "time < ": span.until and f"TIMESTAMPTZ {duck.literal(span.until.isoformat())}",
        "version = ": span.version and duck.literal(span.version),
    }
    bounds = "".join(f" AND {text}{value}" for text, value in given.items() if value)
    predictions = PREDICTIONS.format(source=source(segments), bounds=bounds)
    joined = LABELLED.format(predictions=predictions, labels=LABELS.format(files=sql.parquet(labels)))
    return f"{joined} ORDER BY time, request_id, row, version"
