"""Predictions as numbers: texts, lists, gaps, and rows that cannot be judged."""

import numpy as np
import pyarrow as pa
import pytest

from argosy.monitoring.performance.roles import Roles
from argosy.monitoring.performance.rows import rows, texts_of

NAN = float("nan")


def test_texts_have_the_places_of_the_reference_and_what_is_unseen_one_of_its_own():
    what = Roles(kind="regression", decision="output.y", features=("input.city", "input.age", "input.x"))
    reference = pa.table(
        {
            "input.city": ["rome", "oslo", None],
            "input.age": pa.array([1, 2, None], pa.int64()),
            "input.x": [[1.0, 2.0], [3.0, 4.0], None],
            "output.y": [[1.0], [2.0], [NAN]],
            "label": ["1.5", "x", "3"],
        }
    )
    texts = texts_of(reference, what)
    assert texts == {"input.city": ["oslo", "rome"]}
    found = rows(reference, what, texts, "label")
    assert (found.total, found.decided.tolist(), found.labels.tolist()) == (3, [1.0], [1.5])
    assert found.names == ("input.city", "input.age", "input.x[0]", "input.x[1]")
    assert found.features.tolist() == [[1.0, 1.0, 1.0, 2.0]]
    window = pa.table({"input.city": ["paris"], "input.age": [3], "input.x": [[5.0, 6.0]], "output.y": [[0.0]]})
    assert rows(window, what, texts).features.tolist() == [[2.0, 3.0, 5.0, 6.0]]


def test_a_score_alone_decides():
    what = Roles(kind="classification", score="p", threshold=0.7, classes=("no", "yes"), positive="yes")
    found = rows(pa.table({"p": [0.6, 0.7, NAN, None]}), what, {})
    assert (found.decided.tolist(), found.total) == ([0, 1], 4)
    three = Roles(kind="classification", score="p", classes=("a", "b", "c"))
    found = rows(pa.table({"p": [[0.1, 0.2, 0.7], [NAN, 1.0, 0.0]], "label": ["c", "a"]}), three, {}, "label")
    assert (found.decided.tolist(), found.scores.shape, found.labels.tolist()) == ([2], (1, 3), [2])


def test_of_two_scores_that_of_the_positive_class_counts():
    what = Roles(kind="classification", decision="d", score="p", classes=("0", "1"), positive="0")
    found = rows(pa.table({"d": [True, False], "p": [[0.1, 0.9], [0.8, 0.2]]}), what, {})
    assert (found.decided.tolist(), found.scores.tolist()) == ([1, 0], [0.1, 0.8])


def test_labels_are_one_text_however_they_are_written():
    what = Roles(kind="classification", decision="d")
    found = rows(pa.table({"d": [1.0, 0.0, NAN, 3.0], "t": ["1", "true", "0", "7"]}), what, {}, "t")
    assert found.classes == ("0", "1", "3", "7")
    assert [found.classes[at] for at in found.labels.tolist()] == ["1", "1", "7"]


@pytest.mark.parametrize("empty", [0, 1])
def test_no_rows_and_nothing_but_gaps(empty):
    what = Roles(kind="classification", score="p", classes=("0", "1"), positive="1", features=("x",))
    found = rows(pa.table({"p": pa.array([NAN] * empty, pa.float64()), "x": pa.array([1.0] * empty)}), what, {})
    assert (found.total, len(found.decided), found.features.shape[0]) == (empty, 0, 0)
    assert not np.isnan(found.features).any()
