"""Rows in, answers out; a row that cannot be answered is found, and becomes what the job says of such rows."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from argosy.batch.fragment import FAULT, Fragment
from argosy.batch.source.shape import arrow
from argosy.batch.spool import Tally
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


Bad = dict[int, ArgosyError]
"""Rows that were not answered, by their place in the batch they came in, and why not."""


def rejected(schema: Any) -> Any:
    """The columns of the quarantine file for input rows of a schema."""
    pa = arrow()
    own = [field for field in schema if field.name not in (FAULT, WHERE, REASON)]
    return pa.schema([(WHERE, pa.string()), (REASON, pa.string()), *own])


def answer(batch: Any, respond: Answer, on_error: OnError, fragment: Fragment, first: int) -> Answers:
    """Answer a batch that begins at row `first` of the fragment.

    Raises InvalidArgument or Internal naming the row where `on_error` is `fail`, and Internal where the model answers
    none of several rows.
    """
    failing = on_error == "fail"
    good, bad = _readable(batch)
    if bad and failing:
        raise _named(bad, fragment, first)
    out: list[Any] = []
    if len(good):
        rows = [row for row in range(len(batch)) if row not in bad] if bad else range(len(batch))
        out, refused = _halved(good, respond, rows, failing)
        hopeless = len(good) > 1 and not out and all(isinstance(error, Internal) for error in refused.values())
        if refused and (failing or hopeless):
            raise _named(refused, fragment, first)
        bad |= refused
    skipped = len(bad) if on_error == "skip" else 0
    quarantined = len(bad) if on_error == "quarantine" else 0
    rejects = [_quarantined(batch, bad, fragment, first)] if quarantined else []
    return Answers(out, rejects, Tally(len(batch), len(batch) - len(bad), skipped, quarantined))


def _readable(batch: Any) -> tuple[Any, Bad]:
    """The rows that the source could read, and the others."""
    if FAULT not in batch.schema.names:
        return batch, {}
    faults = batch.column(batch.schema.get_field_index(FAULT))
    bad: Bad = {row: InvalidArgument(text) for row, text in enumerate(faults.to_pylist()) if text is not None}
    good = batch.filter(faults.is_null()) if bad else batch
    return good.drop_columns([FAULT]), bad


def _halved(batch: Any, respond: Answer, rows: Sequence[int], first_only: bool) -> tuple[list[Any], Bad]:
    """Answer all rows together; where they are refused, each half, down to the rows that are at fault. `rows` are their
    places in the batch that was read."""
    out: list[Any] = []
    bad: Bad = {}
    pending = [(0, len(batch))]
    while pending:
        begin, end = pending.pop()
        try:
            out.append(respond(batch.slice(begin, end - begin)))
        except (InvalidArgument, Internal) as error:
            if end - begin == 1:
                bad[rows[begin]] = error
                if first_only:
                    break
                continue
            middle = (begin + end) // 2
            pending += [(middle, end), (begin, middle)]
    return out, bad


def _named(bad: Bad, fragment: Fragment, first: int) -> ArgosyError:
    """The error of the first of these rows, with its place."""
    row = min(bad)
    return type(bad[row])(f"{fragment.where(first + row)}: {bad[row].message}")


def _quarantined(batch: Any, bad: Bad, fragment: Fragment, first: int) -> Any:
    pa, rows = arrow(), sorted(bad)
    schema = rejected(batch.schema)
    taken = batch.take(pa.array(rows, pa.int64()))
    columns = {name: taken.column(taken.schema.get_field_index(name)) for name in schema.names[2:]}
    columns[WHERE] = pa.array([fragment.where(first + row) for row in rows], pa.string())
    columns[REASON] = pa.array([bad[row].message for row in rows], pa.string())
    return pa.record_batch([columns[name] for name in schema.names], schema=schema)
