import numpy as np
import pytest

from argosy.monitoring.performance import cbpe, metrics
from argosy.monitoring.performance.cbpe import Reference
from tests.monitoring.performance.worlds import rows, square


def test_under_a_shift_it_is_nearer_than_cbpe():
    """The window lies where the feature that the model does not know makes it wrong."""
    rng = np.random.default_rng(1)
    reference = rows(rng, square(rng, 8000))
    x = square(rng, 12_000)
    shifted = x[x[:, 1] < -0.2][:3000]
    window = rows(rng, shifted)
    real = metrics.binary(window.labels, window.decided, window.scores)["accuracy"].value
    plain = cbpe.estimate(cbpe.fit(reference), window).estimates["accuracy"]
    found = cbpe.reweighted(reference, window)
    assert not found.reason
    assert abs(found.estimates["accuracy"].value - real) < 0.02 < abs(plain.value - real)
    assert found.estimates["accuracy"].low <= real <= found.estimates["accuracy"].high
    assert found.overlap is not None
    assert found.overlap.effective < 8000


def test_unseen_regions_are_refused_and_seen_ones_are_not():
    rng = np.random.default_rng(2)
    reference = rows(rng, square(rng, 4000))
    wrong = 0
    for _ in range(4):
        window = square(rng, 500)
        window[:150, 0] += 3.2
        found = cbpe.reweighted(reference, rows(rng, window))
        wrong += not found.reason
        assert not found.reason or (not found.estimates and "not estimable" in found.reason)
        corner = square(rng, 500, 0.9, 1.5)
        wrong += bool(cbpe.reweighted(reference, rows(rng, corner)).reason)
    assert wrong == 0


def test_more_classes():
    rng = np.random.default_rng(3)

    def draw(count: int, middle: float) -> Reference:
        x = rng.normal(middle, 1, (count, 3))
        p = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
        labels = (rng.uniform(size=(count, 1)) > p.cumsum(axis=1)).sum(axis=1)
        return Reference(scores=p, decided=p.argmax(axis=1), labels=labels, features=x)

    window = draw(1000, 0.3)
    found = cbpe.reweighted(draw(4000, 0), window)
    real = metrics.multiclass(np.eye(3)[window.labels], window.decided, window.scores)
    for name in metrics.METRICS:
        assert found.estimates[name].value == pytest.approx(real[name].value, abs=0.05)
