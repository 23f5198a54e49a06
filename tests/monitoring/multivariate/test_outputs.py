import numpy as np
import pytest

from argosy.monitoring.multivariate import outputs
from argosy.spec.errors import InvalidArgument
from tests.monitoring.multivariate.worlds import digits, moved, noisy, softmax

NAMES = [str(digit) for digit in range(10)]


@pytest.mark.parametrize(("sigma", "share"), [(8.0, 1.0), (8.0, 0.5), (4.0, 1.0)])
def test_noise_on_images_is_seen_in_what_the_model_says(sigma: float, share: float):
    x, _, _ = digits()
    current = noisy(np.random.default_rng(1), x[600:], sigma, share)
    assert outputs.compare(softmax(x[:600]), softmax(current), NAMES).p < 0.001


def test_moved_images():
    x, _, _ = digits()
    found = outputs.compare(softmax(x[:600]), softmax(moved(x[600:])), NAMES)
    assert found.p < 1e-9
    assert found.effect > 0.15
    assert found.text.startswith(f"scores for '{found.causes[0].name}' are ")


def test_a_class_that_stays_away_is_named():
    x, y, _ = digits()
    current = x[600:][(y[600:] != 3)]
    found = outputs.compare(softmax(x[:600]), softmax(current), NAMES)
    assert found.causes[0].name == "3"
    assert found.causes[0].weight < 0
    assert "scores for '3' are lower" in found.text
    decided = outputs.compare_classes(softmax(x[:600]).argmax(1), softmax(current).argmax(1), NAMES)
    assert decided.causes[0].name == "3"
    assert decided.effect == pytest.approx(0.1, abs=0.04)
    assert decided.p < 0.001


def test_rows_are_the_most_extreme_ones():
    rng = np.random.default_rng(2)
    current = rng.normal(size=200)
    current[5] = 9
    found = outputs.compare(rng.normal(-1, 1, size=500), current)
    assert found.rows[0] == 5


def test_no_more_alarms_than_their_level():
    x, _, _ = digits()
    scores, alarms, decisions = softmax(x), 0, 0
    for seed in range(100):
        order = np.random.default_rng(seed).permutation(len(x))
        reference, current = scores[order[:500]], scores[order[500:700]]
        alarms += outputs.compare(reference, current).p < 0.05
        decisions += outputs.compare_classes(reference.argmax(1), current.argmax(1)).p < 0.05
    assert alarms <= 12
    assert decisions <= 12


def test_what_is_not_a_number_is_a_shift():
    rng = np.random.default_rng(3)
    reference = rng.normal(size=(100, 2))
    current = rng.normal(size=(50, 2))
    current[:, 1] = np.nan
    found = outputs.compare(reference, current)
    assert found.p < 1e-9
    assert found.causes[0].name == "1"
    assert outputs.compare(current[:, 1], current[:, 1]).p == 1


def test_one_class_and_no_rows():
    assert outputs.compare_classes(np.zeros(9, int), np.zeros(5, int)).p == 1
    with pytest.raises(InvalidArgument, match="no decisions to compare"):
        outputs.compare_classes(np.zeros(9, int), np.zeros(0, int))
