"""JSON lines: an object a line. msgspec reads them, since Arrow's reader crashes on a line with `null`."""

from collections.abc import Iterator
from functools import partial
from typing import Any, cast

import msgspec

from argosy.batch.fragment import File, Fragment
from argosy.batch.source import text
from argosy.batch.source.records import Chunk, lines
from argosy.batch.source.shape import LOOSE, ROW, arrow
from argosy.batch.source.values import batch_of
from argosy.spec.errors import InvalidArgument

SAMPLE = 10_000
"""Rows whose values decide the types of columns."""


def schema(file: File) -> Any:
    """See `Source`. The types are those that the first rows can be read as."""
    pa = arrow()
    first = next(text.records(file, lines), None)
    some = [first.record(row) for row in range(min(first.rows, SAMPLE))] if first else []
    rows = [row for row in map(_row, some) if row is not None]
    names = list(dict.fromkeys(name for row in rows for name in row))
    if not names:
        raise InvalidArgument(f"{file.url}: the first lines contain no JSON object with a column")
    fields = [(name, _guess([row.get(name) for row in rows])) for name in names]
    return pa.schema(fields, metadata={LOOSE: b"json"})


def plan(file: File, rows: int) -> list[Fragment]:
    """See `Source`. The file is read through once, to count its lines."""
    return text.cut(file, lines, rows, header=0)


def read(fragment: Fragment, skip: int, batch_rows: int, schema: Any) -> Iterator[Any]:
    parse = partial(_parsed, schema=schema, decoder=_decoder(schema))
    return text.rows_of(fragment, lines, skip, 0, batch_rows, parse)


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        found: Any = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return cast("dict[str, Any]", found) if isinstance(found, dict) else None


def _decoder(schema: Any) -> Any:
    """Decodes lines into objects with an attribute `c0`, `c1`… for each column, None where it is absent."""
    fields = [(f"c{place}", _kind(field.type) | None, None) for place, field in enumerate(schema)]
    names = {f"c{place}": field.name for place, field in enumerate(schema)}
    kind = msgspec.defstruct("Row", fields, rename=names, gc=False)
    return msgspec.json.Decoder(kind)


def _kind(kind: Any) -> Any:
    types = arrow().types
    if types.is_list(kind):
        return list[_kind(kind.value_type) | None]
    plain = {"double": float, "int64": int, "uint64": int, "bool": bool, "string": str}
    return plain.get(str(kind), Any)


def _parsed(chunk: Chunk, schema: Any, decoder: Any) -> Any:
    """The rows of a chunk as one batch."""
    if ROW in schema.names:
        return _one_by_one(chunk, schema)
    pa = arrow()
    try:
        rows: list[Any] = decoder.decode_lines(chunk.text)
        if len(rows) == chunk.rows:
            columns = [
                pa.array([getattr(row, f"c{place}") for row in rows], field.type) for place, field in enumerate(schema)
            ]
            return pa.RecordBatch.from_arrays(columns, schema=schema)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OverflowError, pa.ArrowException):
        pass
    return _one_by_one(chunk, schema)


def _one_by_one(chunk: Chunk, schema: Any) -> Any:
    faults: dict[int, str] = {}
    rows: list[dict[str, Any]] = []
    for number in range(chunk.rows):
        line = chunk.record(number)
        row = _row(line)
        if row is None:
            faults[number] = f"no JSON object: {line[:200].decode(errors='replace')}"
        rows.append(row or {})
    columns = ([_value(row, name) for row in rows] for name in schema.names)
    return batch_of(schema, columns, faults)


def _value(row: dict[str, Any], name: str) -> Any:
    return msgspec.json.encode(row).decode() if name == ROW else row.get(name)


def _guess(values: list[Any]) -> Any:
    pa = arrow()
    for kind in (None, pa.uint64(), pa.float64()):
        try:
            found = pa.array(values, kind).type
        except (pa.ArrowException, OverflowError, TypeError, ValueError):
            continue
        return pa.string() if pa.types.is_null(found) else found
    return pa.string()
