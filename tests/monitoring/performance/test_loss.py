import numpy as np
import numpy.typing as npt

from argosy.monitoring.performance import loss

Floats = npt.NDArray[np.float64]


def draw(rng: np.random.Generator, count: int, low: float = 0.0) -> tuple[Floats, Floats, Floats]:
    """(features, predictions, targets): the error grows with the first feature."""
    x = np.column_stack([rng.uniform(low, 1, count), rng.normal(size=(count, 2))])
    predictions = 3 * x[:, 1]
    return x, predictions, predictions + rng.normal(size=count) * (0.2 + 2 * x[:, 0])


def real(predictions: Floats, targets: Floats) -> dict[str, float]:
    """MAE and RMSE by the targets."""
    error = targets - predictions
    return {"mae": float(np.abs(error).mean()), "rmse": float(np.sqrt((error**2).mean()))}


def test_a_rising_error_is_seen_before_the_targets():
    rng = np.random.default_rng(1)
    x, predictions, targets = draw(rng, 4000)
    losses = loss.fit(x, predictions, targets)
    before = real(predictions, targets)
    x, predictions, targets = draw(rng, 1000, 0.6)
    found = loss.estimate(losses, x, predictions)
    for name, value in real(predictions, targets).items():
        assert found.estimates[name].low <= value <= found.estimates[name].high
        assert found.estimates[name].low > before[name] * 1.2


def test_intervals_hold_what_comes_true():
    rng = np.random.default_rng(2)
    held = 0
    losses = loss.fit(*draw(rng, 3000))
    for _ in range(12):
        x, predictions, targets = draw(rng, 200)
        found = loss.estimate(losses, x, predictions).estimates
        held += sum(found[n].low <= value <= found[n].high for n, value in real(predictions, targets).items())
    assert held >= 21


def test_unseen_rows_are_refused():
    rng = np.random.default_rng(3)
    losses = loss.fit(*draw(rng, 2000))
    x, predictions, _ = draw(rng, 400)
    x[:, 0] += 2
    found = loss.estimate(losses, x, predictions)
    assert found.reason
    assert found.overlap is not None
    assert found.overlap.far > 0.9
    assert found.reason.startswith("not estimable")
