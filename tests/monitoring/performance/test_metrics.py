import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from argosy.monitoring.performance import metrics

ROWS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1), st.integers(0, 5)), min_size=2, max_size=30)


@given(ROWS.filter(lambda rows: len({row[0] for row in rows}) == 2))
def test_with_labels_they_are_the_metrics_themselves(rows: list[tuple[int, int, int]]):
    y, d, s = (np.array(column) for column in zip(*rows, strict=True))
    found = metrics.binary(y, d, s)
    assert found["accuracy"].value == pytest.approx(reference.accuracy_score(y, d))
    assert found["recall"].value == pytest.approx(reference.recall_score(y, d))
    assert found["f1"].value == pytest.approx(reference.f1_score(y, d))
    assert found["auroc"].value == pytest.approx(reference.roc_auc_score(y, s))
    if d.any():
        assert found["precision"].value == pytest.approx(reference.precision_score(y, d))
    else:
        assert np.isnan(found["precision"].value)


@given(st.integers(0, 1000))
def test_slopes_are_derivatives(seed: int):
    rng = np.random.default_rng(seed)
    p, d, s = rng.uniform(0.1, 0.9, 12), rng.integers(0, 2, 12), rng.integers(0, 6, 12)
    d[0] = 1
    row, step = int(rng.integers(12)), 1e-6
    moved = p.copy()
    moved[row] += step
    before, after = metrics.binary(p, d, s), metrics.binary(moved, d, s)
    for name in metrics.METRICS:
        assert (after[name].value - before[name].value) / step == pytest.approx(before[name].slope[row], abs=1e-4)


def test_more_classes_are_averaged_as_scikit_learn_does():
    rng = np.random.default_rng(1)
    y, scores = rng.integers(0, 3, 200), rng.dirichlet(np.ones(3), 200)
    d = scores.argmax(axis=1)
    found = metrics.multiclass(np.eye(3)[y], d, scores)
    assert found["accuracy"].value == pytest.approx(reference.accuracy_score(y, d))
    assert found["f1"].value == pytest.approx(reference.f1_score(y, d, average="macro"))
    assert found["precision"].value == pytest.approx(reference.precision_score(y, d, average="macro"))
    assert found["auroc"].value == pytest.approx(reference.roc_auc_score(y, scores, multi_class="ovr"))


def test_a_class_that_does_not_occur_is_left_out():
    p = np.tile([0.6, 0.4, 0.0], (9, 1))
    found = metrics.multiclass(p, np.zeros(9, int), p)
    assert found["auroc"].value == pytest.approx(0.5)
    assert found["f1"].value == pytest.approx((2 * 0.6 / 1.6 + 0) / 2)


def test_two_classes_are_the_same_as_a_pair_of_columns():
    rng = np.random.default_rng(2)
    p, d = rng.uniform(size=50), rng.integers(0, 2, 50)
    one, two = metrics.binary(p, d, p), metrics.multiclass(np.stack([1 - p, p], 1), d, np.stack([1 - p, p], 1))
    pair = np.stack([1 - p, p], axis=1)
    assert metrics.sampling_variance(p, one["accuracy"].slope) == pytest.approx(
        metrics.sampling_variance(pair, two["accuracy"].slope)
    )


def test_drawn_labels_vary_as_said():
    rng = np.random.default_rng(3)
    p, s = rng.uniform(0.05, 0.95, 400), rng.uniform(size=400)
    d = (p > 0.5).astype(int)
    draws = [metrics.binary(rng.uniform(size=400) < p, d, s) for _ in range(600)]
    for name in metrics.METRICS:
        said = metrics.sampling_variance(p, metrics.binary(p, d, s)[name].slope) ** 0.5
        assert np.std([draw[name].value for draw in draws]) == pytest.approx(said, rel=0.12)
