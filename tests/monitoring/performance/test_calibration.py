import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from argosy.monitoring.performance import calibration


def test_the_curve_is_isotonic_regression():
    rng = np.random.default_rng(1)
    score = rng.integers(0, 200, 500) / 200
    label = (rng.uniform(size=500) < score**2).astype(float)
    weight = rng.uniform(0.1, 3, 500)
    theirs = IsotonicRegression(out_of_bounds="clip").fit(score, label, weight)
    at = np.linspace(-0.5, 1.5, 301)
    assert calibration.fit(score, label, weight)(at) == pytest.approx(theirs.predict(at))


def test_its_variance_is_that_of_repeated_fits():
    rng = np.random.default_rng(2)
    at = np.linspace(0, 1, 200)
    slope = np.full(200, 1 / 200)

    def one() -> calibration.Curve:
        score = rng.uniform(size=400)
        return calibration.fit(score, (rng.uniform(size=400) < score).astype(float))

    curves = [one() for _ in range(200)]
    spread = np.std([float(curve(at).mean()) for curve in curves])
    said = np.mean([curve.variance(at, slope) for curve in curves]) ** 0.5
    assert said == pytest.approx(spread, rel=0.3)


def test_it_helps_only_where_scores_are_off():
    rng = np.random.default_rng(3)
    truth = rng.uniform(size=5000)
    label = (rng.uniform(size=5000) < truth).astype(int)
    assert calibration.helps(truth**3, label)
    assert not calibration.helps(np.where(truth > 0.5, 0.75, 0.25), label)
    assert calibration.helps(truth * 10 - 5, label)


def test_one_row_and_equal_scores():
    assert calibration.fit([0.3], [1.0])([0.0, 0.3, 9.0]).tolist() == [1, 1, 1]
    curve = calibration.fit(np.full(10, 0.5), np.arange(10) % 2)
    assert curve([0.1])[0] == pytest.approx(0.5)
    assert curve.variance(np.array([0.1]), np.array([1.0])) == pytest.approx(0.25 / 10)
