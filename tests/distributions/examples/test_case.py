from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from argosy.packaging.options import PushOptions
from argosy.spec.tensor import tensor
from argosy_examples.case import Case, Score, split


@given(st.integers(1, 500), st.floats(0, 1), st.integers(0, 5))
def test_a_split_holds_every_row_once(count, share, seed):
    train, held = split(count, share, seed)
    assert sorted([*train.tolist(), *held.tolist()]) == list(range(count))
    assert len(held) == round(count * share)
    again = split(count, share, seed)
    assert [train.tolist(), held.tolist()] == [part.tolist() for part in again]


@given(st.integers(1, 50), st.integers(1, 20))
def test_requests_hold_the_rows_in_order(rows, each):
    x = np.arange(rows * 2.0).reshape(rows, 2)
    case = Case(
        name="x",
        about="",
        source=Path("x"),
        options=PushOptions(),
        inputs=(tensor("x", x), tensor("y", x[:, 0])),
        judge=lambda outputs: Score(measure="", value=1, floor=0, note=""),
        form="JSON",
        rows_each=each,
    )
    requests = case.requests()
    assert np.array_equal(np.concatenate([one[0].array for one in requests]), x)
    assert np.array_equal(np.concatenate([one[1].array for one in requests]), x[:, 0])
    assert all(len(one[0].array) == each for one in requests[:-1])
    assert case.rows == rows


def test_a_score_is_good_from_its_floor_on():
    assert Score(measure="accuracy", value=0.9, floor=0.9, note="").good
    assert not Score(measure="accuracy", value=0.89, floor=0.9, note="").good
    assert not Score(measure="accuracy", value=float("nan"), floor=0.9, note="").good
    assert not Score(measure="accuracy", value=1.0, floor=0.9, note="", agrees=False).good
