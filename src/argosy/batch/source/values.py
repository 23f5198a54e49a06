"""Values that were text → columns of Arrow, by the rules of `packaging.rows`; those that do not fit are told by row."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, cast

from argosy.batch.fragment import FAULT
from argosy.batch.source.shape import arrow
from argosy.packaging.rows import number


class Converted(NamedTuple):
    """A column, null where a value did not fit, and for each such row why not."""

    column: Any
    faults: dict[int, str]


def converted(name: str, values: Sequence[Any], kind: Any) -> Converted:
    """Values as a column of a type: numbers from numbers or from text that spells them, text from text alone."""
    convert = _converter(kind)
    found: list[Any] = []
    faults: dict[int, str] = {}
    for row, value in enumerate(values):
        try:
            found.append(None if value is None else convert(value))
        except (ValueError, TypeError, OverflowError):
            found.append(None)
            faults[row] = f"column '{name}': {_shown(value)} is no {_WORDS.get(str(kind), kind)}"
    return Converted(arrow().array(found, kind), faults)


_WORDS = {"double": "number", "int64": "INT64", "uint64": "UINT64", "bool": "BOOL", "string": "text"}
_LIMITS = {"int64": (-(2**63), 2**63 - 1), "uint64": (0, 2**64 - 1)}


def _shown(value: Any) -> str:
    return repr(value)[:80]


def _converter(kind: Any) -> Callable[[Any], Any]:
    pa = arrow()
    if pa.types.is_float64(kind):
        return lambda value: float(number(value))
    if str(kind) in _LIMITS:
        low, high = _LIMITS[str(kind)]
        return lambda value: _integer(value, low, high)
    if pa.types.is_boolean(kind):
        return lambda value: bool(_integer(value, 0, 1))
    if pa.types.is_string(kind):
        return _text
    if pa.types.is_list(kind):
        return _list_of(_converter(kind.value_type))
    return lambda value: _any(value, kind)


def _list_of(inner: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        if not isinstance(value, list):
            raise TypeError
        return [None if one is None else inner(one) for one in cast("list[Any]", value)]

    return convert


def _any(value: Any, kind: Any) -> Any:
    pa = arrow()
    try:
        pa.array([value], kind)
    except pa.ArrowException:
        raise ValueError from None
    return value


def _integer(value: Any, low: int, high: int) -> int:
    given = number(value)
    whole = int(given)
    if whole != given or not low <= whole <= high:
        raise ValueError
    return whole


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    value.encode()
    return value


def faulty(columns: Sequence[Any], schema: Any, faults: Mapping[int, str]) -> Any:
    """A batch of these columns; rows with a fault say why in a further column `FAULT`."""
    pa = arrow()
    if not faults:
        return pa.RecordBatch.from_arrays(columns, schema=schema)
    reasons = pa.array([faults.get(row) for row in range(len(columns[0]))], pa.string())
    return pa.RecordBatch.from_arrays([*columns, reasons], schema=schema.append(pa.field(FAULT, pa.string())))
