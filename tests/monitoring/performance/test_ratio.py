import numpy as np
import pytest

from argosy.monitoring.performance.ratio import levels, objection, overlap, ratios


def test_without_a_shift_nothing_weighs_more():
    rng = np.random.default_rng(1)
    found = ratios(rng.normal(size=(4000, 5)), rng.normal(size=(1000, 5)))
    assert found.auc == pytest.approx(0.5, abs=0.05)
    assert np.quantile(found.reference, 0.95) < 1.5
    assert found.reference.mean() == pytest.approx(1, abs=0.1)


def test_a_known_ratio_is_found():
    """The window has 60 % of its rows where the reference has 10 %."""
    rng = np.random.default_rng(2)

    def draw(count: int, share: float) -> np.ndarray:
        x = rng.normal(size=(count, 4))
        x[:, 1] = rng.uniform(size=count) < share
        return x

    reference = draw(6000, 0.1)
    found = ratios(reference, draw(2000, 0.6))
    inside = reference[:, 1] == 1
    assert found.reference[inside].mean() == pytest.approx(6, rel=0.2)
    assert found.reference[~inside].mean() == pytest.approx(0.4 / 0.9, rel=0.2)
    assert not objection(overlap(found))


def test_missing_values_are_a_place_of_their_own():
    rng = np.random.default_rng(3)
    reference, window = rng.normal(size=(3000, 3)), rng.normal(size=(600, 3))
    window[:300, 2] = np.nan
    shared = overlap(ratios(reference, window))
    assert shared.far == pytest.approx(0.5, abs=0.02)
    assert "50% of the rows lie where the reference has next to none" in objection(shared)


def test_levels_count_half_a_row_more():
    ends, heights = levels(np.array([1.0, 1.0, 2.0, 2.0]), np.array([0, 0, 1, 1]))
    assert ends.tolist() == [1, 2]
    assert heights.tolist() == [0.5 / 2 / (2.5 / 2), 2.5 / 2 / (0.5 / 2)]
