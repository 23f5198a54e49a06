import numpy as np
import pytest

from argosy.monitoring.multivariate import components
from argosy.spec.errors import InvalidArgument
from tests.monitoring.multivariate.worlds import butterfly, turned


def test_a_turned_butterfly_leaves_the_plane():
    rng = np.random.default_rng(1)
    known = components.fit(butterfly(rng, 1000))
    found = components.compare(known, turned(butterfly(rng, 200)), ["x", "y", "noise"])
    assert found.p < 1e-9
    assert found.effect > 0.3
    assert {cause.name for cause in found.causes[:2]} == {"x", "y"}
    assert "mean residual is" in found.text


def test_t2_sees_what_keeps_to_the_plane():
    rng = np.random.default_rng(2)

    def draw(count: int, scale: float) -> np.ndarray:
        along = scale * rng.normal(size=(count, 1))
        return np.column_stack([along, along, along]) + 0.01 * rng.normal(size=(count, 3))

    found = components.compare(components.fit(draw(1000, 1.0)), draw(300, 2.0))
    assert found.p < 1e-9


def test_no_more_alarms_than_its_level():
    alarms = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        known = components.fit(rng.standard_t(3, (300, 5)), seed=seed)
        alarms += components.compare(known, rng.standard_t(3, (100, 5))).p < 0.05
    assert alarms <= 12


def test_categories_count_by_their_frequency():
    rng = np.random.default_rng(3)
    x = np.column_stack([rng.normal(size=400), rng.choice([7.0, 9.0], 400, p=[0.9, 0.1])])
    known = components.fit(x, categorical=[1])
    assert known.frequencies[1].values.tolist() == [7, 9]
    same, other = x[:100].copy(), x[:100].copy()
    other[:, 1] = 1000.0
    assert components.compare(known, same).p > 0.05
    assert components.compare(known, other).p < 1e-9


def test_missing_constant_and_single():
    rng = np.random.default_rng(4)
    x = np.column_stack([rng.normal(size=50), np.full(50, np.nan), np.ones(50)])
    known = components.fit(x)
    assert 0 <= components.compare(known, x[:1]).p <= 1
    assert components.compare(known, np.full((3, 3), np.nan)).effect >= 0
    with pytest.raises(InvalidArgument, match="the reference has 5 rows; components need at least 20"):
        components.fit(x[:5])
    with pytest.raises(InvalidArgument, match="columns"):
        components.compare(known, np.zeros((5, 2)))
