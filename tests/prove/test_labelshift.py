import numpy as np
import pytest

from argosy.spec.errors import InvalidArgument
from prove import labelshift
from tests.monitoring.multivariate.worlds import digits, softmax

NAMES = [str(digit) for digit in range(10)]


def test_the_true_frequencies_are_found_through_a_model_that_errs():
    rng = np.random.default_rng(1)
    confusion = np.array([[0.8, 0.2], [0.3, 0.7]])

    def draw(count: int, share: float) -> tuple[np.ndarray, np.ndarray]:
        y = (rng.uniform(size=count) < share).astype(int)
        return y, (rng.uniform(size=count) < confusion[y, 1]).astype(int)

    y, decided = draw(20_000, 0.2)
    _, current = draw(20_000, 0.6)
    assert labelshift.ratios(y, decided, current, 2) == pytest.approx([0.5, 3.0], rel=0.1)
    found = labelshift.compare_labels(y, decided, current, ["no", "yes"])
    assert found.effect == pytest.approx(0.4, abs=0.03)
    assert found.p < 1e-9
    assert found.text.startswith("'no' occurs in an estimated 4") or "'yes' occurs in an estimated" in found.text


def test_a_digit_that_stays_away():
    x, y, _ = digits()
    decided = softmax(x).argmax(axis=1)
    here = y[600:] != 3
    found = labelshift.compare_labels(y[:600], decided[:600], decided[600:][here], NAMES)
    assert found.causes[0].name == "3"
    assert found.causes[0].weight == pytest.approx(-0.1, abs=0.03)


def test_what_cannot_be_told_is_said():
    y = np.array([0, 1, 0, 1])
    with pytest.raises(InvalidArgument, match="do not tell all classes apart"):
        labelshift.ratios(y, np.zeros(4, int), np.zeros(4, int), 2)
    with pytest.raises(InvalidArgument, match="a label for each decision"):
        labelshift.ratios(y, y[:3], y, 2)
