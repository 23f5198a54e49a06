"""CSV: a header and rows, cut at the ends of records. Arrow reads it; what it cannot is read record by record."""

import csv
import re
from collections.abc import Iterator
from functools import partial
from typing import Any, cast

from argosy.batch.fragment import File, Fragment
from argosy.batch.source import text
from argosy.batch.source.records import LONGEST, Chunk, csv_lines
from argosy.batch.source.shape import LOOSE, Reading, arrow, checked, reading_of
from argosy.batch.source.values import batch_of
from argosy.engines.base import require
from argosy.packaging.table import scalar_type
from argosy.spec.errors import InvalidArgument

_ODD = re.compile(rb"0[xX]|[nN]\(")
"""What is in text that Arrow takes for a number, and nobody else does: 0x1F, nan(1). Searched where one of its letters
is found, which costs next to nothing."""

csv.field_size_limit(LONGEST)


def schema(file: File) -> Any:
    """See `Source`. The types are those of the first rows, by `packaging.table.scalar_type`."""
    pa, delimiter, names = arrow(), _delimiter(file), _header(file)
    guesses = [pa.string() for _ in names]
    left = 1
    for chunk in text.records(file, csv_lines(delimiter)):
        if chunk.rows > left:
            texts = pa.schema([(name, pa.string()) for name in names])
            batch = _parsed(chunk.after(left), names, texts, Reading(), delimiter)
            kinds = {"bool": pa.bool_(), "int": pa.int64(), "float": pa.float64(), "text": pa.string()}
            guesses = [kinds[scalar_type(column.drop_null().to_pylist())] for column in batch.columns[: len(names)]]
            break
        left -= chunk.rows
    return pa.schema(list(zip(names, guesses, strict=True)), metadata={LOOSE: b"1"})


def plan(file: File, rows: int) -> list[Fragment]:
    """See `Source`. The file is read through once, to find the ends of records."""
    return text.cut(file, csv_lines(_delimiter(file)), rows, header=1)


def read(fragment: Fragment, skip: int, batch_rows: int, schema: Any) -> Iterator[Any]:
    delimiter, names, how = _delimiter(fragment.file), _header(fragment.file), reading_of(schema)
    if absent := next((name for name in schema.names if name not in names), None):
        raise InvalidArgument(f"{fragment.file.url} lacks the column '{absent}'")
    parse = partial(_parsed, names=names, schema=schema, how=how, delimiter=delimiter)
    return text.rows_of(fragment, csv_lines(delimiter), skip, 1, batch_rows, parse)


def _delimiter(file: File) -> bytes:
    return b"\t" if ".tsv" in file.url.rpartition("/")[2].lower() else b","


def _header(file: File) -> list[str]:
    delimiter = _delimiter(file)
    first = next((chunk for chunk in text.records(file, csv_lines(delimiter)) if chunk.rows), None)
    if first is None:
        raise InvalidArgument(f"{file.url} has no header")
    try:
        names = _fields(first.record(0), delimiter)
        "".join(names).encode()
    except (csv.Error, UnicodeEncodeError):
        raise InvalidArgument(f"{file.url}: the header is not CSV in UTF-8") from None
    return checked(arrow().schema([(name, "string") for name in names]), file.url, index=True).names


def _fields(record: bytes, delimiter: bytes) -> list[str]:
    """The values of one record. Raises csv.Error."""
    line = record.decode("utf-8", "surrogateescape")
    for strict in (True, False):
        try:
            return next(csv.reader([line], delimiter=delimiter.decode(), strict=strict))
        except csv.Error as error:
            if "unexpected end" in str(error):
                raise csv.Error("a quote is never closed") from None
            if not strict:
                raise csv.Error("a line ends with a carriage return alone") from None
    raise AssertionError


def _parsed(chunk: Chunk, names: list[str], schema: Any, how: Reading, delimiter: bytes) -> Any:
    """The rows of a chunk as one batch."""
    pa = arrow()
    module = cast("Any", require("pyarrow.csv", "batch", "CSV"))
    odd = any(letter in chunk.text for letter in (b"x", b"X", b"(")) and _ODD.search(chunk.text) is not None
    if not odd and not _open(chunk):
        exact = {name: pa.string() for name in how.exact}
        types = {field.name: exact.get(field.name, field.type) for field in schema}
        try:
            table = module.read_csv(
                pa.BufferReader(chunk.text),
                module.ReadOptions(column_names=names, use_threads=False, block_size=len(chunk.text) + 1),
                module.ParseOptions(delimiter=delimiter.decode(), newlines_in_values=True),
                module.ConvertOptions(
                    column_types=types,
                    include_columns=schema.names,
                    null_values=["", *how.nulls],
                    strings_can_be_null=True,
                ),
            )
            if table.num_rows == chunk.rows:
                return _exact(table.combine_chunks().to_batches()[0], schema)
        except pa.ArrowInvalid:
            pass
    return _one_by_one(chunk, names, schema, how, delimiter)


def _open(chunk: Chunk) -> bool:
    """Whether the last record may have a quote that is never closed, which Arrow does not mind."""
    return not chunk.text.endswith(b"\n") and chunk.record(chunk.rows - 1).count(b'"') % 2 == 1


def _exact(batch: Any, schema: Any) -> Any:
    """The columns that were read as text in their types. Raises ArrowInvalid where that is not how they are written."""
    pa = arrow()
    columns: list[Any] = []
    for field, column in zip(schema, batch.columns, strict=True):
        if column.type != field.type:
            column, spelled = column.cast(field.type), column
            if pa.types.is_integer(field.type) and not column.cast(pa.string()).equals(spelled):
                raise pa.ArrowInvalid("not as it is written")
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _one_by_one(chunk: Chunk, names: list[str], schema: Any, how: Reading, delimiter: bytes) -> Any:
    faults: dict[int, str] = {}
    rows: list[list[str]] = []
    for row in range(chunk.rows):
        record = chunk.record(row)
        try:
            fields = _fields(record, delimiter)
            if len(fields) != len(names):
                raise csv.Error(f"{len(fields)} values for {len(names)} columns")
        except csv.Error as error:
            faults[row] = f"{error}: {record[:200].decode(errors='replace')}"
            fields = [""] * len(names)
        rows.append(fields)
    missing, places = {"", *how.nulls}, [names.index(name) for name in schema.names]
    columns = ([None if fields[place] in missing else fields[place] for fields in rows] for place in places)
    return batch_of(schema, columns, faults, how.exact)
