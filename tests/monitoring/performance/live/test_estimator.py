"""What one reference can say: for two classes and more, with and without features, for numbers."""

import numpy as np
import pytest

from argosy.monitoring.performance.estimator import Estimator
from argosy.monitoring.performance.reference import Reference
from argosy.monitoring.performance.roles import Roles
from argosy.monitoring.performance.rows import Rows


def two(rows: int, seed: int, *, names: bool = True, positive: str = "yes") -> Rows:
    """Two classes, calibrated; a score is of `positive`."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, rows)
    chance = 1 / (1 + np.exp(-2 * x))
    yes = rng.random(rows) < chance
    return Rows(
        names=("x",) if names else (),
        features=x[:, None] if names else np.zeros((rows, 0)),
        classes=("no", "yes"),
        scores=chance if positive == "yes" else 1 - chance,
        decided=(chance >= 0.5).astype(int),
        labels=yes.astype(int),
        total=rows,
    )


def three(rows: int, seed: int) -> Rows:
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, (rows, 2))
    odds = np.exp(np.column_stack([x, np.zeros(rows)]) * 1.5)
    chance = odds / odds.sum(axis=1, keepdims=True)
    labels = (chance.cumsum(axis=1) > rng.random((rows, 1))).argmax(axis=1)
    return Rows(
        names=("a", "b"),
        features=x,
        classes=("a", "b", "c"),
        scores=chance,
        decided=chance.argmax(axis=1),
        labels=labels,
        total=rows,
    )


def numbers(rows: int, seed: int) -> Rows:
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, (rows, 2))
    labels = x[:, 0] + rng.normal(0, 1, rows) * (1 + (x[:, 1] > 0))
    return Rows(names=("a", "b"), features=x, decided=x[:, 0], labels=labels, total=rows)


@pytest.mark.parametrize("names", [True, False])
@pytest.mark.parametrize("positive", ["yes", "no"])
def test_two_classes_whichever_is_positive(names, positive):
    what = Roles(kind="classification", score="p", classes=("no", "yes"), positive=positive)
    judge = Estimator(Reference(two(3000, 1, names=names, positive=positive), {}), what)
    window = two(2000, 2, names=names, positive=positive)
    found, truth = judge.estimate(window), Estimator(Reference(window, {}), what).expected()
    assert set(found.estimates) == set(truth) == {"accuracy", "precision", "recall", "f1", "auroc"}
    for name, each in found.estimates.items():
        assert each.value == pytest.approx(truth[name].value, abs=0.03), name


def test_three_classes():
    what = Roles(kind="classification", score="p", classes=("a", "b", "c"))
    judge, window = Estimator(Reference(three(3000, 3), {}), what), three(2000, 4)
    found, truth = judge.estimate(window), Estimator(Reference(window, {}), what).expected()
    for name in ("accuracy", "precision", "recall", "f1"):
        assert found.estimates[name].value == pytest.approx(truth[name].value, abs=0.03), name
    assert found.overlap is not None


def test_numbers():
    what = Roles(kind="regression", decision="y")
    judge, window = Estimator(Reference(numbers(3000, 5), {}), what), numbers(2000, 6)
    found, truth = judge.estimate(window), Estimator(Reference(window, {}), what).expected()
    for name in ("mae", "rmse"):
        assert found.estimates[name].low < truth[name].value < found.estimates[name].high, name


def test_a_class_without_a_score_cannot_be_estimated():
    rows = two(500, 7)
    bare = Rows(
        names=rows.names,
        features=rows.features,
        classes=rows.classes,
        decided=rows.decided,
        labels=rows.labels,
        total=500,
    )
    judge = Estimator(Reference(bare, {}), Roles(kind="classification", decision="d", positive="yes"))
    assert judge.estimate(bare).reason == "not estimable: the model gives no score, only a class"
    assert set(judge.expected()) == {"accuracy", "precision", "recall", "f1"}
