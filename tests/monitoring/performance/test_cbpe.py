import numpy as np
import pytest

from argosy.monitoring.performance import cbpe, metrics
from argosy.monitoring.performance.cbpe import Reference, Window
from tests.monitoring.performance.worlds import rows, square


def test_intervals_hold_what_comes_true():
    rng = np.random.default_rng(1)
    calibrated = cbpe.fit(rows(rng, square(rng, 4000)))
    held = dict.fromkeys(metrics.METRICS, 0)
    for _ in range(150):
        window = rows(rng, square(rng, 300))
        found = cbpe.estimate(calibrated, window).estimates
        real = metrics.binary(window.labels, window.decided, window.scores)
        for name in metrics.METRICS:
            held[name] += found[name].low <= real[name].value <= found[name].high
    assert all(count >= 135 for count in held.values()), held


def test_more_classes():
    rng = np.random.default_rng(2)

    def draw(count: int) -> Reference:
        p = rng.dirichlet([1, 1, 2], count)
        labels = (rng.uniform(size=(count, 1)) > p.cumsum(axis=1)).sum(axis=1)
        sharp = p**2 / (p**2).sum(axis=1, keepdims=True)
        return Reference(scores=sharp, decided=p.argmax(axis=1), labels=labels)

    calibrated = cbpe.fit(draw(6000))
    assert all(curve is not None for curve in calibrated)
    window = draw(2000)
    found = cbpe.estimate(calibrated, window)
    real = metrics.multiclass(np.eye(3)[window.labels], window.decided, window.scores)
    assert not found.reason
    for name in metrics.METRICS:
        assert found.estimates[name].value == pytest.approx(real[name].value, abs=0.035)
        assert found.estimates[name].low <= real[name].value <= found.estimates[name].high


def test_a_window_of_one_row():
    rng = np.random.default_rng(3)
    calibrated = cbpe.fit(rows(rng, square(rng, 500)), calibrate=True)
    found = cbpe.estimate(calibrated, Window(scores=np.array([0.9]), decided=np.array([1])))
    assert 0 <= found.estimates["accuracy"].low < found.estimates["accuracy"].high <= 1
    assert found.rows == 1


def test_one_decision_only_leaves_out_what_has_no_meaning():
    found = cbpe.estimate((None,), Window(scores=np.array([0.2, 0.3]), decided=np.array([0, 0]))).estimates
    assert "precision" not in found
    assert found["recall"].value == 0
