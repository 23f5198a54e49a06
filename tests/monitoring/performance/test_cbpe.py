import numpy as np
import pytest

from argosy.monitoring.performance import cbpe, metrics
from argosy.monitoring.performance.window import Reference, Window
from argosy.spec.errors import InvalidArgument
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
    assert all(curve is not None for curve in calibrated.curves)
    window = draw(2000)
    found = cbpe.estimate(calibrated, window)
    real = metrics.multiclass(np.eye(3)[window.labels], window.decided, window.scores)
    assert found.estimable
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
    found = cbpe.estimate(
        cbpe.Calibrated((None,), 1), Window(scores=np.array([0.2, 0.3]), decided=np.array([0, 0]))
    ).estimates
    assert "precision" not in found
    assert found["recall"].value == 0


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"scores": np.array([0.1, np.nan])}, "1 of 2 rows have scores that are not finite numbers"),
        ({"decided": np.array([0, 2])}, "decided holds codes outside 0 to 1"),
        ({"decided": np.array([0])}, "decided has 1 rows and scores 2"),
        ({"scores": np.empty(0), "decided": np.empty(0, int)}, "there are no rows"),
        ({"scores": np.ones((2, 3)) / 3}, "scores are of 3 columns, the reference's of 1"),
    ],
)
def test_what_cannot_be_judged_is_said(changed: dict[str, np.ndarray], message: str):
    base = {"scores": np.array([0.1, 0.9]), "decided": np.array([0, 1])}
    with pytest.raises(InvalidArgument, match=message):
        cbpe.estimate(cbpe.Calibrated((None,), 2), Window(**(base | changed)))
