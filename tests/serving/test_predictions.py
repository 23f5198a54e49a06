"""Predictions are counted as the guard compares them, whatever the batches they came in."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.serving.counts import MAX_CATEGORIES, OTHER, number_bin
from argosy.serving.observer import EngineCall
from argosy.serving.predictions import Predictions, categories, countable
from argosy.spec.signature import Signature, TensorSpec

FLOATS = st.floats(allow_nan=True, allow_infinity=True, width=32)


def spec(datatype: str = "FP32", *shape: int) -> TensorSpec:
    return TensorSpec(name="y", datatype=datatype, shape=(-1, *shape))


def called(*outputs: Any) -> EngineCall:
    return EngineCall((), {}, outputs, 0)


@given(st.lists(FLOATS, min_size=1, max_size=50))
def test_numbers_count_by_their_bin(values: list[float]) -> None:
    found = categories(spec(), [np.array(values, "f4")])
    expected: dict[str, int] = {}
    for value in values:
        expected[number_bin(float(np.float32(value)))] = expected.get(number_bin(float(np.float32(value))), 0) + 1
    assert found == expected


@given(st.lists(FLOATS, min_size=2, max_size=40), st.integers(1, 39))
def test_batches_do_not_matter(values: list[float], cut: int) -> None:
    signature = Signature(inputs=(spec(),), outputs=(spec(),))
    whole, parts = Predictions(signature), Predictions(signature)
    array = np.array(values, "f4")
    whole.observe([called(array)])
    parts.observe([called(array[:cut])])
    parts.observe([called(array[cut:])])
    assert whole.counts == parts.counts


def test_of_scores_the_largest_counts_and_of_two_the_second() -> None:
    three = np.array([[0.1, 0.7, 0.2], [0.9, 0.1, 0.0], [np.nan, 0.5, 0.5]], "f4")
    assert categories(spec("FP32", 3), [three]) == {"0": 1, "1": 1, "nan": 1}
    two = np.array([[0.75, 0.25], [0.5, 0.5]], "f4")
    assert categories(spec("FP32", 2), [two]) == {number_bin(0.25): 1, number_bin(0.5): 1}


def test_labels_count_as_themselves() -> None:
    assert categories(spec("INT64"), [np.array([3, 3, 7])]) == {"3": 2, "7": 1}
    assert categories(spec("BYTES"), [np.array([b"cat", b"dog", b"cat"], object)]) == {"cat": 2, "dog": 1}
    assert categories(spec("BOOL"), [np.array([True, False, True])]) == {"True": 2, "False": 1}


@pytest.mark.parametrize(
    ("shape", "good"), [((), True), ((1,), True), ((1000,), True), ((1001,), False), ((-1,), False), ((2, 2), False)]
)
def test_large_outputs_are_not_counted(shape: tuple[int, ...], good: bool) -> None:
    assert countable(spec("FP32", *shape)) is good


def test_categories_are_bounded() -> None:
    signature = Signature(inputs=(spec("INT64"),), outputs=(spec("INT64"),))
    predictions = Predictions(signature)
    predictions.observe([called(np.arange(2 * MAX_CATEGORIES))])
    assert len(predictions.counts["y"]) == MAX_CATEGORIES + 1
    assert predictions.counts["y"][OTHER] == MAX_CATEGORIES
