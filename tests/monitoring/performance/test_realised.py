"""Metrics once labels are there: the values of scikit-learn, and deviations that hold."""

import msgspec
import numpy as np
import pytest
from sklearn import metrics as sk

from argosy.monitoring.performance.metrics import (
    area,
    classification,
    errors_of,
    matrix_of,
    regression,
    right,
)  # fmt: skip


def drawn(rows, classes, seed):
    rng = np.random.default_rng(seed)
    true = rng.integers(0, classes, rows)
    return np.where(rng.random(rows) < 0.7, true, rng.integers(0, classes, rows)), true


@pytest.mark.parametrize(("classes", "average"), [(2, "binary"), (5, "macro")])
def test_values_are_those_of_scikit_learn(classes, average):
    said, true = drawn(500, classes, 1)
    names = [str(place) for place in range(classes)]
    matrix = matrix_of(said, true, names)
    found = classification(matrix, names, "1" if classes == 2 else "")
    precision, recall, f1, _ = sk.precision_recall_fscore_support(true, said, average=average)
    expected = {"accuracy": (said == true).mean(), "precision": precision, "recall": recall, "f1": f1}
    assert {name: each.value for name, each in found.items()} == pytest.approx(expected)
    assert right(matrix) == (said == true).sum()


@pytest.mark.parametrize("positive", ["1", ""])
def test_intervals_hold_what_is_true(positive):
    names = ["0", "1", "2"]
    truth = classification(matrix_of(*drawn(200_000, 3, 0), names), names, positive)
    inside = dict.fromkeys(truth, 0)
    for seed in range(200):
        found = classification(matrix_of(*drawn(400, 3, seed + 1), names), names, positive)
        for name, each in found.items():
            inside[name] += each.low <= truth[name].value <= each.high
    assert min(inside.values()) >= 180


def test_what_has_no_meaning_is_left_out():
    assert classification({}, ("0", "1"), "1") == {}
    assert set(classification({("0", "0"): 5}, ("0", "1"), "1")) == {"accuracy"}
    (found,) = (classification({("0", "0"): 5}, ("0", "1"), "1")["accuracy"],)
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low < 1.0
    many = {(str(place), str(place)): 1 for place in range(60)}
    assert set(classification(many)) == {"accuracy"}


def test_area_is_that_of_scikit_learn_and_its_interval_holds():
    inside = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        positive = (rng.random(300) < 0.3).astype(float)
        scores = np.round(rng.normal(positive, 1.0), 1)
        found = area(scores, positive)
        assert found is not None
        assert found.value == pytest.approx(sk.roc_auc_score(positive, scores))
        inside += found.low <= 0.76025 <= found.high
    assert inside >= 180
    assert area(np.ones(3), np.ones(3)) is None


def test_errors():
    rng = np.random.default_rng(3)
    truth, said = rng.normal(0, 1, 4000), rng.normal(0, 1, 4000)
    found = regression(errors_of(said, truth))
    assert found["mae"].value == pytest.approx(np.abs(said - truth).mean())
    assert found["rmse"].value == pytest.approx(np.sqrt(((said - truth) ** 2).mean()))
    assert found["rmse"].low < np.sqrt(2) < found["rmse"].high
    assert found["mae"].low < 2 / np.sqrt(np.pi) < found["mae"].high
    assert regression(errors_of(truth, truth))["rmse"].value == 0


@pytest.mark.parametrize("pair", [("1", "1"), ("1", "0")])
def test_where_all_or_nothing_is_right_every_figure_is_a_plain_number(pair):
    found = classification({pair: 50}, ("0", "1"), "1")
    assert {type(part) for each in found.values() for part in msgspec.structs.astuple(each)} == {float}
