"""Rows that cannot be answered: found among many, and made what the job says of them."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.batch import rows
from argosy.batch.fragment import FAULT, File, Fragment
from argosy.batch.spool import Tally
from argosy.spec.errors import Internal, InvalidArgument

FILE = File("/data/a.csv", "csv", 1, "m")
FRAGMENT = Fragment(file=FILE, index=0, position=(0, 9), first=100, rows=9)


def batch(values, faults=None):
    columns = {"v": pa.array(values, pa.int64())}
    if faults is not None:
        columns[FAULT] = pa.array(faults, pa.string())
    return pa.record_batch(columns)


def respond(some):
    """Twice each value; refuses those below 0 and fails at 13."""
    values = some["v"].to_numpy()
    if (values < 0).any():
        raise InvalidArgument("v is below 0")
    if (values == 13).any():
        raise Internal("thirteen")
    return pa.record_batch({"w": values * 2})


def values(batches, name="w"):
    return [value for one in batches for value in one[name].to_pylist()]


@given(st.lists(st.integers(-3, 14), min_size=1, max_size=40), st.data())
def test_counts_add_up_and_order_is_kept(numbers, data):
    faults = [data.draw(st.sampled_from([None, None, "no number"])) for _ in numbers]
    good = [n for n, fault in zip(numbers, faults, strict=True) if fault is None and n >= 0 and n != 13]
    bad = [n for n, fault in zip(numbers, faults, strict=True) if not (fault is None and n >= 0 and n != 13)]
    readable = [n for n, fault in zip(numbers, faults, strict=True) if fault is None]
    if len(readable) > 1 and set(readable) == {13}:
        with pytest.raises(Internal):
            rows.answer(batch(numbers, faults), respond, "skip", FRAGMENT, 5)
        return
    skipped = rows.answer(batch(numbers, faults), respond, "skip", FRAGMENT, 5)
    assert values(skipped.out) == [n * 2 for n in good]
    assert skipped.tally == Tally(len(numbers), len(good), len(bad), 0)
    kept = rows.answer(batch(numbers, faults), respond, "quarantine", FRAGMENT, 5)
    assert kept.tally == Tally(len(numbers), len(good), 0, len(bad))
    assert values(kept.rejects, "v") == bad
    if bad:
        with pytest.raises((InvalidArgument, Internal), match=r"/data/a\.csv, row "):
            rows.answer(batch(numbers, faults), respond, "fail", FRAGMENT, 5)
    else:
        assert rows.answer(batch(numbers, faults), respond, "fail", FRAGMENT, 5).tally.out == len(numbers)


def test_a_quarantined_row_says_where_it_was_and_why():
    found = rows.answer(batch([1, -1, 2, 5], [None, None, None, "is no number"]), respond, "quarantine", FRAGMENT, 10)
    assert found.rejects[0].to_pylist() == [
        {"_where": "/data/a.csv, row 111", "_reason": "v is below 0", "v": -1},
        {"_where": "/data/a.csv, row 113", "_reason": "is no number", "v": 5},
    ]
    assert found.rejects[0].schema.equals(rows.rejected(batch([1]).schema))


def test_fail_names_the_first_row():
    with pytest.raises(InvalidArgument, match="row 102: v is below 0"):
        rows.answer(batch([1, 2, -1, -2]), respond, "fail", FRAGMENT, 0)


def test_a_model_that_answers_nothing_is_not_skipped_over():
    with pytest.raises(Internal, match="thirteen"):
        rows.answer(batch([13, 13, 13]), respond, "skip", FRAGMENT, 0)


def test_a_few_bad_rows_among_many_cost_few_calls():
    calls = []

    def counted(some):
        calls.append(len(some))
        return respond(some)

    numbers = np.arange(4096)
    numbers[13] = 0
    numbers[[7, 4000]] = -1
    found = rows.answer(batch(numbers), counted, "skip", FRAGMENT, 0)
    assert found.tally == Tally(4096, 4094, 2, 0)
    assert len(calls) < 60
