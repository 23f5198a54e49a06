"""Values that were text → columns of Arrow, by the rules of `packaging.rows`; those that do not fit are faults."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, cast

from argosy.batch.fragment import FAULT
from argosy.batch.source.shape import arrow
from argosy.packaging.rows import number

_WORDS = {"double": "number", "int64": "INT64", "uint64": "UINT64", "bool": "BOOL", "string": "text"}
_LIMITS = {"int64": (-(2**63), 2**63 - 1), "uint64": (0, 2**64 - 1)}


def batch_of(
    schema: Any, columns: Iterable[Sequence[Any]], faults: Mapping[int, str], exact: Collection[str] = ()
) -> Any:
    """A batch of the values of each column: numbers from numbers or from text that spells them, text from text alone.

    Where a value does not fit it is null, and the row says why in a further column `FAULT`, as those with `faults` do.
    An integer of a column that is `exact` has to be written as it was.
    """
    pa = arrow()
    faults, found = dict(faults), list[Any]()
    for field, values in zip(schema, columns, strict=True):
        column, unfit = _converted(field, values, exact=field.name in exact and pa.types.is_integer(field.type))
        found.append(column)
        faults = unfit | faults
    if not faults:
        return pa.RecordBatch.from_arrays(found, schema=schema)
    reasons = pa.array([faults.get(row) for row in range(len(found[0]))], pa.string())
    return pa.RecordBatch.from_arrays([*found, reasons], schema=schema.append(pa.field(FAULT, pa.string())))


def _converted(field: Any, values: Sequence[Any], *, exact: bool) -> tuple[Any, dict[int, str]]:
    """A column, null where a value did not fit, and for each such row why not."""
    convert = _converter(field.type)
    found: list[Any] = []
    faults: dict[int, str] = {}
    for row, value in enumerate(values):
        try:
            found.append(None if value is None else convert(value))
            if exact and value is not None and str(found[-1]) != value:
                raise ValueError
        except (ValueError, TypeError, OverflowError):
            found[row:] = [None]
            kind = f"{field.type} as the first rows are" if exact else _WORDS.get(str(field.type), field.type)
            shown = f"'{value}'" if exact else repr(value)[:80]
            faults[row] = f"column '{field.name}': {shown} is no {kind}"
    return arrow().array(found, field.type), faults


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
