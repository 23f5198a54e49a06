"""Rows in, answers out; a row that cannot be answered is found, and becomes what the job says of such rows."""

from collections.abc import Callable
from typing import Any, NamedTuple

from argosy.batch.fragment import FAULT, Fragment
from argosy.batch.spool import Tally
from argosy.engines.base import require
from argosy.spec.batch import OnError
from argosy.spec.errors import ArgosyError, Internal, InvalidArgument

WHERE, REASON = "_where", "_reason"
"""The columns that a quarantined row has beside its own."""

Answer = Callable[[Any], Any]
"""A record batch of input rows → one of as many output rows. Raises InvalidArgument or Internal."""


class Answers(NamedTuple):
    """What became of some rows: batches of answers, batches of quarantined rows, both in their order; and counts."""

    out: list[Any]
    rejects: list[Any]
    tally: Tally


class _Bad(NamedTuple):
    """One row, by its place in the batch it came in, and why it was not answered."""

    row: int
    error: ArgosyError


def rejected(schema: Any) -> Any:
    """The columns of the quarantine file for input rows of a schema."""
    pa = require("pyarrow", "batch", "Batch")
    own = [field for field in schema if field.name not in (FAULT, WHERE, REASON)]
    return pa.schema([(WHERE, pa.string()), (REASON, pa.string()), *own])


def answer(batch: Any, respond: Answer, on_error: OnError, fragment: Fragment, first: int) -> Answers:
    """Answer a batch that begins at row `first` of the fragment.

    Raises InvalidArgument or Internal naming the row where `on_error` is `fail`, and Internal where the model answers
    none of several rows.
    """
    good, bad = _readable(batch)
    if bad and on_error == "fail":
        raise _named(bad[0], fragment, first)
    out: list[Any] = []
    if len(good):
        rows = _row_numbers(len(batch), bad)
        found = _halved(good, respond, rows, on_error == "fail")
        if on_error == "fail" and found.bad:
            raise _named(found.bad[0], fragment, first)
        if len(good) > 1 and not found.out and all(isinstance(one.error, Internal) for one in found.bad):
            raise _named(found.bad[0], fragment, first)
        out, bad = found.out, sorted([*bad, *found.bad])
    left_out = len(bad)
    tally = Tally(
        len(batch),
        len(batch) - left_out,
        left_out if on_error == "skip" else 0,
        left_out if on_error == "quarantine" else 0,
    )
    rejects = [_quarantined(batch, bad, fragment, first)] if bad and on_error == "quarantine" else []
    return Answers(out, rejects, tally)


def _readable(batch: Any) -> tuple[Any, list[_Bad]]:
    """The rows that the source could read, and the others."""
    if FAULT not in batch.schema.names:
        return batch, []
    faults = batch.column(batch.schema.get_field_index(FAULT))
    bad = [_Bad(row, InvalidArgument(text)) for row, text in enumerate(faults.to_pylist()) if text is not None]
    good = batch.filter(faults.is_null()) if bad else batch
    return good.drop_columns([FAULT]), bad


def _row_numbers(rows: int, bad: list[_Bad]) -> list[int] | range:
    if not bad:
        return range(rows)
    left_out = {one.row for one in bad}
    return [row for row in range(rows) if row not in left_out]


class _Found(NamedTuple):
    out: list[Any]
    bad: list[_Bad]


def _halved(batch: Any, respond: Answer, rows: list[int] | range, first_only: bool) -> _Found:
    """Answer all rows together; where they are refused, each half, down to the rows that are at fault."""
    found = _Found([], [])
    pending = [(0, len(batch))]
    while pending:
        begin, end = pending.pop()
        try:
            found.out.append(respond(batch.slice(begin, end - begin)))
        except (InvalidArgument, Internal) as error:
            if end - begin == 1:
                found.bad.append(_Bad(rows[begin], error))
                if first_only:
                    break
                continue
            middle = (begin + end) // 2
            pending += [(middle, end), (begin, middle)]
    return found


def _named(bad: _Bad, fragment: Fragment, first: int) -> ArgosyError:
    return type(bad.error)(f"{fragment.where(first + bad.row)}: {bad.error.message}")


def _quarantined(batch: Any, bad: list[_Bad], fragment: Fragment, first: int) -> Any:
    pa = require("pyarrow", "batch", "Batch")
    schema = rejected(batch.schema)
    taken = batch.take(pa.array([one.row for one in bad], pa.int64()))
    columns = {name: taken.column(taken.schema.get_field_index(name)) for name in schema.names[2:]}
    columns[WHERE] = pa.array([fragment.where(first + one.row) for one in bad], pa.string())
    columns[REASON] = pa.array([one.error.message for one in bad], pa.string())
    return pa.record_batch([columns[name] for name in schema.names], schema=schema)
