import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from argosy.monitoring.multivariate import classifier
from argosy.spec.errors import InvalidArgument
from prove.shifts import linear
from tests.monitoring.multivariate.worlds import butterfly, turned


def test_it_tells_a_turned_butterfly_and_why():
    rng = np.random.default_rng(1)
    found = classifier.compare(butterfly(rng, 400), turned(butterfly(rng, 100)), ["x", "y", "noise"])
    assert found.effect > 0.9
    assert found.p < 1e-9
    assert {cause.name for cause in found.causes[:2]} == {"x", "y"}
    assert sum(cause.weight for cause in found.causes) == pytest.approx(1)
    assert len(found.rows) == 10


def test_the_rows_it_names_are_the_ones_that_are_new():
    rng = np.random.default_rng(2)
    current = rng.normal(size=(300, 3))
    current[:30, 0] += 6
    found = classifier.compare(rng.normal(size=(900, 3)), current)
    assert set(found.rows) <= set(range(30))
    assert found.causes[0].name == "0"


@pytest.mark.slow
@pytest.mark.parametrize(("learner", "columns"), [(classifier.trees(10), 4), (linear(), 16)])
def test_no_more_alarms_than_its_level(learner: classifier.Learner, columns: int):
    """20 windows without a shift: more than 4 below 5 % come once in 400 times for a test that keeps its level."""
    alarms = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(300, columns)), rng.normal(size=(100, columns))
        alarms += classifier.compare(x, y, learner=learner, seed=seed).p < 0.05
    assert alarms <= 4


def test_the_statistic_is_mann_whitney():
    rng = np.random.default_rng(3)
    scores, side = rng.integers(0, 30, 200).astype(float), rng.integers(0, 2, 200)
    auc, p = classifier.mann_whitney(scores, side)
    theirs = mannwhitneyu(scores[side == 1], scores[side == 0], alternative="greater", use_continuity=False)
    assert auc == pytest.approx(theirs.statistic / (side.sum() * (1 - side).sum()))
    assert p == pytest.approx(theirs.pvalue)


def test_constant_and_missing_columns():
    x = np.column_stack([np.ones(100), np.full(100, np.nan), np.zeros(100)])
    found = classifier.compare(x, x[:50])
    assert found.effect == 0.5
    assert found.p == 1
    assert found.causes == ()
    later = x[:50].copy()
    later[:, 1] = 3.0
    assert classifier.compare(x, later).effect == 1


def test_too_few_rows_and_other_columns():
    with pytest.raises(InvalidArgument, match="the current window has 4 rows; at least 5"):
        classifier.compare(np.zeros((9, 2)), np.zeros((4, 2)))
    with pytest.raises(InvalidArgument, match="the reference has 2 columns and the window 3"):
        classifier.compare(np.zeros((9, 2)), np.zeros((9, 3)))
