import math

import numpy as np
import pytest

from argosy.monitoring.performance.cbpe import Reference
from prove import performance, shifts, unseen
from prove.census import CACHE, Census, load


def draw(rng: np.random.Generator, count: int) -> Reference:
    x = np.column_stack([rng.integers(0, 8, count), rng.uniform(0, 90, count), rng.normal(size=count)]).astype(float)
    score = 1 / (1 + np.exp(-(x[:, 0] - 4)))
    labels = (rng.uniform(size=count) < score).astype(np.int64)
    return Reference(scores=score, decided=(score > 0.5).astype(np.int64), features=x, labels=labels)


@pytest.fixture(scope="module")
def census() -> Census:
    """As the real one, but small and made."""
    rng = np.random.default_rng(1)
    return Census(("codes", "age", "noise"), draw(rng, 8_000), draw(rng, 16_000))


def test_planted_windows_are_judged_right(census: Census):
    planted = unseen.simulate(census, 2)
    assert [one.right for one in planted] == [1, 1, 1, 1]
    assert unseen.good(planted)
    assert "| more of a region that the reference has, up to × 20 | 0 of 2 | 100.0% |" in unseen.table(planted)
    assert not unseen.good([unseen.Planted("one", True, 94, 100)])


def test_the_floor_is_what_drawn_labels_leave(census: Census):
    windows = census.chunks(2000)
    mean, low, high, met = performance.floor(windows, [w.scores for w in windows], "accuracy")
    real = performance.came_true(windows)["accuracy"]
    said = [np.where(w.decided == 1, w.scores, 1 - w.scores).mean() for w in windows]
    error = np.abs(np.array(said) - real)
    assert low < mean < high
    assert met == 1
    assert error.mean() == pytest.approx(mean, rel=0.8)


def test_the_whole_on_made_data(census: Census):
    text, _ = performance.measure(census, 5, 1)
    assert "| importance-weighted (`cbpe.py`) | 0.0" in text
    assert "| hindsight: labels of other windows known | 0.0" in text
    assert "8 windows; mean absolute errors." in text


def test_shifts_of_images():
    digits = shifts.load()
    seen = shifts.evidence(digits, 1, 200, "noise σ 8 on all")
    assert max(seen[0], seen[2], seen[3], seen[4]) < 0.01
    counts = {(shift, size): np.arange(5.0) for shift in shifts.SHIFTS for size in shifts.SIZES}
    assert "| none | 0.00 0.00 0.00 0.00 | 0.25 0.25 0.25 0.25 |" in shifts.table(counts, 4)


@pytest.mark.skipif(
    not list(CACHE.glob("nannyml-*.whl")), reason="python -m prove.performance has not fetched the data"
)
def test_the_census_is_as_described():
    census = load()
    assert census.columns[:4] == ("AGEP", "SCHL", "MAR", "RELP")
    assert census.reference.features is not None
    assert census.reference.features.shape == (68_785, 16)
    assert len(census.chunks(2000)) == 104
    assert performance.came_true([census.analysis])["accuracy"][0] == pytest.approx(0.8275, abs=1e-3)
    assert not math.isnan(census.analysis.features.sum() if census.analysis.features is not None else math.nan)
