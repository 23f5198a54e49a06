import numpy as np
import pytest

from argosy.monitoring.performance import cbpe, metrics, reweighted
from argosy.monitoring.performance.window import Reference, Window
from argosy.spec.errors import InvalidArgument
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
    found = reweighted.estimate(reference, window)
    assert found.estimable
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
        found = reweighted.estimate(reference, rows(rng, window))
        wrong += found.estimable
        assert found.estimable or (not found.estimates and "not estimable" in found.reason)
        corner = square(rng, 500, 0.9, 1.5)
        wrong += not reweighted.estimate(reference, rows(rng, corner)).estimable
    assert wrong == 0


def test_more_classes():
    rng = np.random.default_rng(3)

    def draw(count: int, middle: float) -> Reference:
        x = rng.normal(middle, 1, (count, 3))
        p = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
        labels = (rng.uniform(size=(count, 1)) > p.cumsum(axis=1)).sum(axis=1)
        return Reference(scores=p, decided=p.argmax(axis=1), labels=labels, features=x)

    window = draw(1000, 0.3)
    found = reweighted.estimate(draw(4000, 0), window)
    real = metrics.multiclass(np.eye(3)[window.labels], window.decided, window.scores)
    for name in metrics.METRICS:
        assert found.estimates[name].value == pytest.approx(real[name].value, abs=0.05)


def test_what_cannot_be_compared_is_said():
    rng = np.random.default_rng(4)
    reference = rows(rng, square(rng, 300))
    bare = Window(scores=np.array([0.1, 0.2]), decided=np.array([0, 0]))
    with pytest.raises(InvalidArgument, match="features do not have the columns"):
        reweighted.estimate(reference, bare)
    bare_reference = Reference(scores=reference.scores, decided=reference.decided, labels=reference.labels)
    with pytest.raises(InvalidArgument, match="give them, or use CBPE alone"):
        reweighted.estimate(bare_reference, bare)


def test_large_references_are_sampled(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reweighted, "MOST_ROWS", 100)
    rng = np.random.default_rng(5)
    found = reweighted.sample(rows(rng, square(rng, 300)))
    assert len(found.labels) == len(found.scores) == 100
    assert reweighted.sample(found) is found
