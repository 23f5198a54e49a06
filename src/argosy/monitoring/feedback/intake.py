"""Labels onto the disk: one by one through a journal, and whole files."""

import contextlib
import itertools
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from argosy.monitoring.feedback import sql
from argosy.monitoring.feedback.event import MAX_ID, MAX_TEXT, SKEW_SECONDS, AcceptedLabel
from argosy.monitoring.feedback.folder import JOURNAL, LabelFolder
from argosy.spec.errors import InvalidArgument, NotFound, RateLimited
from argosy.store import duck
from argosy.store.durable import storage, sync_file, sync_folder, write_all

MOST_JOURNAL = 64 * 1024 * 1024
"""Bytes of labels that may wait for the next join: a sender's may be as many as stay free for others. So one alone has
a half, each of two a third, and one more sender finds room while a few dozen use up all they get."""
RETRY_SECONDS = 60
AT_ONCE = 20_000
"""Labels of a file that is made of the journal: so many are in memory."""
READERS = {
    ".parquet": "read_parquet({})",
    ".csv": "read_csv({}, all_varchar = true)",
    ".jsonl": "read_json({}, format = 'newline_delimited')",
    ".ndjson": "read_json({}, format = 'newline_delimited')",
}
OPTIONAL = {"row": "0", "version": "0", "time": "NULL", "source": "''"}

PLAIN = """CREATE TEMP MACRO plain(x) AS CASE
  WHEN lower(trim(CAST(x AS VARCHAR))) IN ('true', 'false') THEN
    CAST(CAST(CAST(x AS VARCHAR) AS BOOLEAN)::INT AS VARCHAR)
  WHEN isfinite(TRY_CAST(x AS DOUBLE)) AND abs(TRY_CAST(x AS DOUBLE)) < 1e15
    AND TRY_CAST(x AS DOUBLE) = trunc(TRY_CAST(x AS DOUBLE)) THEN CAST(CAST(TRY_CAST(x AS DOUBLE) AS BIGINT) AS VARCHAR)
  ELSE CAST(x AS VARCHAR) END"""
"""`event.plain` in SQL."""


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a file: labels taken, labels refused by reason with an example each."""

    labels: int
    refused: dict[str, int]
    examples: dict[str, str]


def append(folder: LabelFolder, labels: Sequence[AcceptedLabel]) -> None:
    """Add labels of one sender to his journal; when this returns they outlive a crash. Raises StorageFull, and
    RateLimited where more would wait for a join than his share of `MOST_JOURNAL`.

    A crash in the middle leaves a line without an end, which the next call ends and `seal` passes over.
    """
    data = b"".join(msgspec.json.encode(label) + b"\n" for label in labels)
    journal = folder.journal(labels[0].key if labels else "")
    with storage(folder.root), folder.locked(JOURNAL):
        waiting = sum(each.stat().st_size for each in folder.journals())
        handle = os.open(journal, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(handle).st_size
            if size + len(data) > MOST_JOURNAL - waiting - len(data):
                raise RateLimited(
                    f"{size} bytes of labels of '{folder.endpoint}' from this key wait to be joined with predictions, "
                    f"{waiting} from all, of {MOST_JOURNAL} that may: that is its share; send them again after the "
                    "next look of the endpoint's monitor, or load them as a file",
                    retry_after=RETRY_SECONDS,
                )
            torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
            write_all(handle, (b"\n" if torn else b"") + data)
            os.fsync(handle)
        finally:
            os.close(handle)
        if size == 0:
            sync_folder(folder.root)


def seal(folder: LabelFolder) -> int:
    """Turn the journals into files of labels, of one sender each; how many labels.

    A crash before a journal is gone makes the same labels twice, which counts once.
    """
    with folder.locked(JOURNAL):
        count = 0
        for journal in folder.journals():
            with journal.open("rb") as lines:
                labels = _read(lines)
                while some := list(itertools.islice(labels, AT_ONCE)):
                    _write(folder, some)
                    count += len(some)
            journal.unlink()
        return count


def _read(lines: Iterable[bytes]) -> Iterator[AcceptedLabel]:
    for line in lines:
        with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
            yield msgspec.json.decode(line, type=AcceptedLabel)


def _write(folder: LabelFolder, labels: Sequence[AcceptedLabel]) -> None:
    import pyarrow

    from argosy.store.durable import replace
    from argosy.store.payloads.segment import encoded

    pa: Any = pyarrow
    stamp = pa.timestamp("us", tz="UTC")
    kinds = (pa.string(), pa.int32(), pa.string(), pa.int32(), stamp, stamp, pa.string(), pa.string())
    schema = pa.schema(list(zip(AcceptedLabel.__struct_fields__, kinds, strict=True)))
    table = pa.Table.from_pylist([msgspec.structs.asdict(label) for label in labels], schema=schema)
    replace(folder.labels / _name(labels[0].key), encoded(table), folder.temporary, mode=0o600)


def _name(key: str = "") -> str:
    """`expiry` reads the time and the sender from it."""
    return "-".join(filter(None, (f"{time.time_ns():019d}", secrets.token_hex(4), key))) + ".parquet"


def load(folder: LabelFolder, source: Path, now: float) -> Loaded:
    """Take a file of labels: .parquet, .csv or .jsonl with the columns request_id and label, and optionally row, time,
    version and source, as `event.Label` has them. Loading a file again changes nothing.

    Raises NotFound, InvalidArgument for a file that cannot be read or lacks a column.
    """
    if not source.is_file():
        raise NotFound(f"there is no file {source}")
    reader = READERS.get(source.suffix.lower())
    if reader is None:
        raise InvalidArgument(f"{source.name}: labels are read from {', '.join(READERS)}, not from '{source.suffix}'")
    target = folder.create().temporary / _name()
    with duck.opened(temporary=folder.temporary / "spill") as connection, storage(folder.root):
        connection.execute(PLAIN)
        try:
            given = _given(connection, reader.format(duck.literal(str(source))), source, now)
            connection.execute(f"CREATE TEMP VIEW checked AS {given}")
            counts = connection.execute(_COUNTS).fetchall()
            refused = {reason: count for reason, count, _ in counts if reason}
            taken = sum(count for reason, count, _ in counts if not reason)
            if taken:
                connection.execute(f"COPY ({_TAKEN}) TO {duck.literal(str(target))} (FORMAT parquet, COMPRESSION zstd)")
        except duck.module().Error as error:
            target.unlink(missing_ok=True)
            raise InvalidArgument(f"{source.name} cannot be read as labels: {duck.first_line(error)[:300]}") from None
    if taken:
        sync_file(target)
        os.rename(target, folder.labels / target.name)
        sync_folder(folder.labels)
    return Loaded(labels=taken, refused=refused, examples={reason: str(one) for reason, _, one in counts if reason})


def _given(connection: Any, reader: str, source: Path, now: float) -> str:
    """The file's rows with every column in its type, and `reason` empty for those that are taken."""
    connection.execute(f"SELECT * FROM {reader} LIMIT 0")
    kinds = {column[0]: str(column[1]).upper() for column in connection.description}
    if absent := [name for name in ("request_id", "label") if name not in kinds]:
        raise InvalidArgument(f"{source.name} has no column '{absent[0]}'; it has {', '.join(list(kinds)[:20])}")
    if unknown := [name for name in kinds if name not in ("request_id", "label", *OPTIONAL)]:
        raise InvalidArgument(
            f"{source.name}: unknown column '{unknown[0]}'; labels have request_id, label, row, "
            "time, version and source"
        )
    columns = {name: duck.identifier(name) if name in kinds else default for name, default in OPTIONAL.items()}
    moment = _moment(columns["time"], kinds.get("time", ""))
    label = sql.plain("label", kinds["label"])
    unfit = "    WHEN label IS NULL THEN 'no label'\n" + (
        "" if label != "plain(label)" else _UNFIT.format(text=MAX_TEXT)
    )
    clock = datetime.fromtimestamp(now, UTC).isoformat()
    shape = {"moment": moment, "clock": clock, "skew": SKEW_SECONDS, "reader": reader, "id": MAX_ID}
    return _CHECKED.format(**shape, label=label, unfit=unfit, **columns)


def _moment(column: str, kind: str) -> str:
    """A column of times as TIMESTAMPTZ: seconds since 1970, or ISO 8601."""
    if column == "NULL":
        return "NULL::TIMESTAMPTZ"
    if "TIMESTAMP" in kind or "DATE" in kind:
        return f"CAST({column} AS TIMESTAMPTZ)"
    seconds = f"make_timestamptz(CAST(round(TRY_CAST({column} AS DOUBLE) * 1e6) AS BIGINT))"
    return f"COALESCE({seconds}, TRY_CAST(CAST({column} AS VARCHAR) AS TIMESTAMPTZ))"


_CHECKED = """
SELECT CAST(request_id AS VARCHAR) AS request_id, TRY_CAST({row} AS INTEGER) AS row, {label} AS label,
  TRY_CAST({version} AS INTEGER) AS version, {moment} AS moment, TIMESTAMPTZ '{clock}' AS received,
  COALESCE(CAST({source} AS VARCHAR), '') AS source,
  CASE
    WHEN request_id IS NULL OR length(CAST(request_id AS VARCHAR)) NOT BETWEEN 1 AND {id} THEN 'no request_id'
{unfit}    WHEN TRY_CAST({row} AS INTEGER) IS NULL OR TRY_CAST({row} AS INTEGER) < 0 THEN 'row is no number from 0'
    WHEN TRY_CAST({version} AS INTEGER) IS NULL OR TRY_CAST({version} AS INTEGER) < 0 THEN 'version is no number from 0'
    WHEN {time} IS NOT NULL AND moment IS NULL THEN 'time cannot be read'
    WHEN moment > received + INTERVAL '{skew} seconds' THEN 'time is in the future'
    ELSE '' END AS reason
FROM {reader}"""

_UNFIT = """    WHEN plain(label) IN ('nan', 'inf', '-inf') THEN 'no label'
    WHEN length(CAST(label AS VARCHAR)) > {text} THEN 'a label of over {text} characters'
"""

_COUNTS = "SELECT reason, count(*), any_value(request_id) FROM checked GROUP BY reason ORDER BY reason"

_TAKEN = """SELECT request_id, row, label, version, LEAST(COALESCE(moment, received), received) AS time, received,
  source
FROM checked WHERE reason = ''"""
