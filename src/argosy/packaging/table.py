"""Rows as they come: columns with names, one array, or tensors by name; and the readers of the files that hold them."""

import csv
import io
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import msgspec
import numpy as np

from argosy.spec.errors import InvalidArgument, NotFound, PayloadTooLarge, Unsupported, require
from argosy.spec.strict import parse
from argosy.spec.tensor import Array

Kind = Literal[".json", ".csv", ".parquet", ".npy", ".npz"]
KINDS: tuple[Kind, ...] = (".json", ".csv", ".parquet", ".npy", ".npz")
MAX_BYTES = 2 * 1024**3


class Table(msgspec.Struct, frozen=True):
    """`frame`: 1-D arrays by column name, None or NaN for missing. `matrix`: one array, named "". `tensors`: by name.
    `text`: every column holds strings that a signature has still to give a meaning (CSV)."""

    kind: Literal["frame", "matrix", "tensors"]
    arrays: dict[str, Array]
    text: bool = False

    @property
    def rows(self) -> int:
        """Axis 0 of the arrays."""
        return next((len(array) for array in self.arrays.values()), 0)


def read(source: Path | bytes, kind: str = "") -> Table:
    """Rows from a file or from bytes of the given kind (a file's suffix by default). Raises NotFound, InvalidArgument
    for what cannot be read, PayloadTooLarge over 2 GiB, MissingExtra without pyarrow."""
    kind = kind or (source.suffix.lower() if isinstance(source, Path) else "")
    where = source.name if isinstance(source, Path) else f"the {kind.lstrip('.').upper()} rows"
    reader = _READERS.get(kind)
    if reader is None:
        raise InvalidArgument(f"{where}: rows are read from {', '.join(KINDS)}, not from '{kind}'")
    if isinstance(source, Path) and not source.is_file():
        raise NotFound(f"there is no file {source}")
    size = source.stat().st_size if isinstance(source, Path) else len(source)
    if size > MAX_BYTES:
        raise PayloadTooLarge(f"{where} has {size} bytes of rows; at most {MAX_BYTES} are read at once")
    if not size:
        raise InvalidArgument(f"{where} is empty")
    table = reader(source.read_bytes() if isinstance(source, Path) else source, where)
    lengths = {name: len(array) for name, array in table.arrays.items() if array.ndim}
    if table.kind == "frame" and len(set(lengths.values())) > 1:
        raise InvalidArgument(f"{where}: columns differ in length: {lengths}")
    if not table.arrays or not any(array.size for array in table.arrays.values()):
        raise InvalidArgument(f"{where} holds no rows")
    return table


def infer(table: Table) -> Table:
    """A table of text as integers, floats, booleans or strings: each column by `scalar_type`."""
    if not table.text:
        return table
    return Table(table.kind, {name: _inferred(array) for name, array in table.arrays.items()})


def missing(array: Array) -> Array:
    """Where a column has no value: NaN, None or pandas' NA."""
    if array.dtype.kind == "f":
        return np.isnan(array)
    if array.dtype.kind != "O":
        return np.zeros(array.shape, dtype=bool)
    return np.array([is_gap(v) or v != v for v in array.reshape(-1).tolist()], dtype=bool).reshape(array.shape)


_NUMPY_SCALAR: Any = np.generic


def is_gap(value: Any) -> bool:
    """Whether a value is None or pandas' NA, which cannot be compared."""
    return value is None or type(value).__name__ == "NAType"


def column(values: Sequence[Any]) -> Array:
    """One array of a list of scalars, numpy's among them: integers, floats (None becomes NaN), booleans, or strings and
    None as objects. NaN among strings, as pandas has it, is None."""
    kinds: set[Any] = {type(value) for value in values if value is not None}
    if not kinds <= {bool, int, float, str, bytes, list}:
        plain: list[Any] = [value.item() if isinstance(value, _NUMPY_SCALAR) else value for value in values]
        values = [None if is_gap(value) else value for value in plain]
        kinds = {type(value) for value in values if value is not None}
    holes = any(value is None for value in values)
    if kinds == {bool} and not holes:
        return np.array(values, dtype=bool)
    if kinds == {int} and not holes:
        try:
            return np.array(values, dtype=np.int64)
        except OverflowError:
            raise InvalidArgument("a column holds an integer that does not fit in 64 bits") from None
    if kinds <= {int, float}:
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    if kinds <= {list} and not holes:
        return matrix(values, "a column")
    if kinds <= {str, bool, bytes, float} and all(value != value for value in values if type(value) is float):
        return _objects([None if type(value) is float else value for value in values])
    names = sorted(kind.__name__ for kind in kinds)
    raise InvalidArgument(f"a column mixes values of the kinds {', '.join(names)}")


def matrix(rows: Sequence[Any], where: str) -> Array:
    """One array of nested lists. Raises InvalidArgument where they are ragged."""
    try:
        array = np.array(rows)
    except (ValueError, OverflowError):
        raise InvalidArgument(f"{where}: the lists are ragged or mix kinds; every row needs the same length") from None
    if array.dtype.kind == "O":
        return column(rows) if array.ndim == 1 else array
    return np.array(rows, dtype=object) if array.dtype.kind in "US" else array  # NumPy's texts end before a NUL


def _objects(values: Sequence[Any]) -> Array:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


Scalar = Literal["bool", "int", "float", "text"]

_INTEGER = re.compile(r"-?[1-9][0-9]{0,18}|0")
_CODE = re.compile(r"[+-]?(0[0-9]+|[0-9]{16,})")
_FLOAT = re.compile(r"[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|nan|inf|infinity)", re.IGNORECASE)
EXACT = 2**53
"""Larger integers are not all floats."""


def scalar_type(texts: Collection[str]) -> Scalar:
    """The type of a column of text whose values, without the missing ones, are `texts`.

    Only what a number spells again is a number: a column with a value such as `01234`, or with more digits than a
    float has, is one of codes, which stay text. Integers fit in 64 bits.
    """
    if texts and all(text.lower() in ("true", "false") for text in texts):
        return "bool"
    if texts and all(_INTEGER.fullmatch(text) and -(2**63) <= int(text) < 2**63 for text in texts):
        return "int"
    if texts and all(_FLOAT.fullmatch(text) and not _CODE.fullmatch(text) for text in texts):
        return "float"
    return "text"


def _inferred(array: Array) -> Array:
    """A column of text as its type, where an array of that type can hold it; spaces around numbers do not count."""
    texts = [None if text is None else text.strip() for text in cast("list[str | None]", array.tolist())]
    present = [text for text in texts if text is not None]
    gaps = len(present) < len(texts)
    match scalar_type(present):
        case "bool" if not gaps:
            return np.array([text.lower() == "true" for text in present])
        case "int" if not gaps or all(abs(int(text)) <= EXACT for text in present):
            return column([None if text is None else int(text) for text in texts])
        case "float":
            return np.array([np.nan if text is None else float(text) for text in texts])
        case _:
            return array


def _read_json(data: bytes, where: str) -> Table:
    """A list of objects, an object of lists, a list of lists, or a request of the Open Inference Protocol."""
    value: Any = parse(data, object, f"{where} is not valid JSON", InvalidArgument)
    if isinstance(value, dict):
        return _json_object(cast("dict[str, Any]", value), data, where)
    if not isinstance(value, list) or not value:
        raise InvalidArgument(f"{where}: rows are a list of objects, an object of lists, or a list of lists")
    rows = cast("list[Any]", value)
    if all(isinstance(row, dict) for row in rows):
        names = dict.fromkeys(name for row in rows for name in row)
        return Table("frame", {name: _named(name, [row.get(name) for row in rows], where) for name in names})
    if any(isinstance(row, dict) for row in rows):
        raise InvalidArgument(f"{where}: some rows are objects and some are not")
    return Table("matrix", {"": matrix(rows, where)})


def _json_object(value: dict[str, Any], data: bytes, where: str) -> Table:
    if isinstance(value.get("inputs"), list) and all(
        isinstance(item, dict) and "datatype" in item for item in value["inputs"]
    ):
        from argosy.protocol.rest import decode_request

        return Table("tensors", {tensor.name: tensor.array for tensor in decode_request(data).tensors})
    if value and not any(isinstance(item, list | dict) for item in value.values()):
        value = {name: [item] for name, item in value.items()}  # one row
    if not value or not all(isinstance(item, list) for item in value.values()):
        raise InvalidArgument(f"{where}: an object holds one list for each column, or one value for each")
    return Table("frame", {name: _named(name, items, where) for name, items in value.items()})


def _named(name: str, values: list[Any], where: str) -> Array:
    try:
        return column(values)
    except InvalidArgument as error:
        raise InvalidArgument(f"{where}, column '{name}': {error.message}") from None


def _read_csv(data: bytes, where: str) -> Table:
    """A header and rows, comma-separated. Every value stays text until a signature or `infer` gives it a type."""
    try:
        rows = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidArgument(f"{where} is not valid CSV: {error}") from None
    rows = [row for row in rows if row]
    if len(rows) < 2:
        raise InvalidArgument(f"{where} needs a header and at least one row")
    header, body = rows[0], rows[1:]
    if len(set(header)) != len(header):
        raise InvalidArgument(f"{where}: two columns share a name")
    if ragged := next((line for line, row in enumerate(body, 2) if len(row) != len(header)), 0):
        raise InvalidArgument(f"{where}, row {ragged}: {len(body[ragged - 2])} values for {len(header)} columns")
    columns = zip(*body, strict=True)
    return Table(
        "frame", {n: _objects([v or None for v in c]) for n, c in zip(header, columns, strict=True)}, text=True
    )


def _read_parquet(data: bytes, where: str) -> Table:
    pa, module = (cast("Any", require(name, "parquet", "Reading Parquet")) for name in ("pyarrow", "pyarrow.parquet"))
    try:
        table: Any = module.read_table(pa.BufferReader(data))
    except Exception as error:
        raise InvalidArgument(f"{where} is not valid Parquet: {str(error)[:200]}") from None
    names = [name for name in table.column_names if not name.startswith("__index_level_")]
    return Table("frame", {name: arrow_column(table.column(name), name, where) for name in names})


def arrow_column(values: Any, name: str, where: str) -> Array:
    """A column of Arrow as an array: decimals and numbers with gaps as floats, lists as a matrix. Raises Unsupported
    for times and what else no model takes, InvalidArgument for ragged lists."""
    import pyarrow as pa

    types = cast("Any", pa.types)
    kind = values.type
    if types.is_dictionary(kind):
        values = values.cast(kind.value_type)
        kind = values.type
    if types.is_decimal(kind):
        values = values.cast("float64")
    elif types.is_list(kind) or types.is_fixed_size_list(kind):
        return matrix(values.to_pylist(), f"{where}, column '{name}'")
    elif not (
        types.is_primitive(kind) or types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind)
    ):
        raise Unsupported(f"{where}, column '{name}' is of the Arrow type {kind}, which no model takes")
    if types.is_temporal(kind):
        raise Unsupported(f"{where}, column '{name}' holds times ({kind}): turn it into numbers or strings first")
    if types.is_boolean(kind) and values.null_count:
        return _objects([None if value is None else str(value) for value in values.to_pylist()])
    whole = values.combine_chunks() if hasattr(values, "combine_chunks") else values
    return np.asarray(whole.to_numpy(zero_copy_only=False))


def _read_numpy(data: bytes, where: str) -> Table:
    try:
        found: Any = np.load(io.BytesIO(data), allow_pickle=False)
        if hasattr(found, "files"):
            with found:
                return Table("tensors", {name: found[name] for name in found.files})
    except Exception as error:
        raise InvalidArgument(f"{where} is not a numpy file without objects: {error}") from None
    return Table("matrix", {"": found.astype(object) if found.dtype.kind in "US" else found})


_READERS: dict[str, Callable[[bytes, str], Table]] = {
    ".json": _read_json,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
    ".npy": _read_numpy,
    ".npz": _read_numpy,
}
