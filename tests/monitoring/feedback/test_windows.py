"""What labels say of each stretch of time."""

import pytest

from argosy.monitoring.feedback.join import Prediction
from argosy.monitoring.feedback.windows import labelled
from tests.monitoring.feedback.kit import DAY, START, folder, join, label, predict, tell

PLACE = int(START.timestamp()) // 3600


def opened(root, days=("2026-01-01", "2026-01-02"), seconds=3600):
    place = folder(root)
    return labelled(place, place.manifest(), days, seconds)


def test_counts_by_hour_of_the_prediction(tmp_path):
    predict(tmp_path, ("a", 0, 1), ("b", 3599, 1), ("c", 3600, 0), ("d", DAY - 1, 0))
    predict(tmp_path, ("a", 1, 0), version="2")
    tell(tmp_path, label("a", 1), label("b", 0), label("c", 0), label("d", 0), label("d", 1, at=3 * DAY))
    join(tmp_path)
    with opened(tmp_path) as found:
        assert found.matrices("1") == {
            PLACE: {("1", "1"): 1, ("1", "0"): 1},
            PLACE + 1: {("0", "0"): 1},
            PLACE + 23: {("0", "1"): 1},
        }
        assert found.matrices("2") == {PLACE: {("0", "1"): 1}}
        assert found.matrices("3") == {}
        scores, positive = found.scores("1", PLACE, "1", 2)
        assert (scores.tolist(), sorted(positive.tolist())) == (pytest.approx([0.1, 0.1]), [0.0, 1.0])
    with opened(tmp_path, days=("2026-01-02",)) as found:
        assert found is None


def test_errors_by_hour(tmp_path):
    predict(tmp_path, ("a", 0, 3), ("b", 0, 5), ("c", 7200, 5), ("d", 7200, 1))
    tell(tmp_path, label("a", 3.5), label("b", 4), label("c", "no number"), label("d", 1))
    join(tmp_path, Prediction(decision="output.label", kind="regression"))
    with opened(tmp_path) as found:
        first, last = found.errors("1").values()
    assert (first.n, first.absolute, first.squared) == (2, 0.75, 0.625)
    assert (first.absolute_variance, first.squared_variance) == (0.0625, pytest.approx(0.140625))
    assert (last.n, last.absolute) == (1, 0.0)


def test_a_window_over_midnight_needs_both_days(tmp_path):
    predict(tmp_path, ("a", DAY - 10, 1), ("b", DAY + 10, 1))
    tell(tmp_path, label("a", 1), label("b", 1))
    join(tmp_path)
    with opened(tmp_path, seconds=7 * DAY) as found:
        assert sum(found.matrices("1")[int(START.timestamp()) // (7 * DAY)].values()) == 2
