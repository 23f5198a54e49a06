import numpy as np
import pytest

from argosy.packaging.optimize import gate
from argosy.spec.package import OptimizationTry
from argosy.spec.signature import TensorSpec

CLASSES = TensorSpec(name="p", datatype="FP32", shape=(-1, 3), classes=("a", "b", "c"))
NUMBERS = TensorSpec(name="y", datatype="FP32", shape=(-1, 1))


def probabilities(labels):
    return np.eye(3, dtype="f4")[labels] * 0.8 + 0.05


def test_the_worst_class_is_named_and_small_ones_do_not_count():
    want = np.array([0] * 50 + [1] * 45 + [2] * 5)
    got = want.copy()
    got[50:59] = 0
    got[95:] = 0
    found = gate.agree([CLASSES], [probabilities(want)], [probabilities(got)])
    assert found.share == 0.86
    assert (found.worst, found.worst_class) == (36 / 45, "b")
    assert found.interval[0] < 0.86 < found.interval[1]


@pytest.mark.parametrize(("right", "rows"), [(100, 100), (99, 100), (0, 100), (990, 1000)])
def test_an_interval_holds_its_share_and_narrows_with_rows(right, rows):
    low, high = gate.interval(right, rows)
    assert 0 <= low <= right / rows <= high <= 1
    assert (low, high) != (right / rows, right / rows)
    wider = gate.interval(right * 10, rows * 10)
    assert wider[1] - wider[0] < high - low


def test_numbers_agree_by_the_variance_that_is_kept():
    want = np.linspace(0, 10, 100, dtype="f4").reshape(-1, 1)
    assert gate.agree([NUMBERS], [want], [want]).share == 1
    assert gate.agree([NUMBERS], [want], [want + np.float32(0.1)]).share == pytest.approx(
        1 - 0.01 / want.var(), abs=1e-4
    )
    assert gate.agree([NUMBERS], [want], [np.full_like(want, want.mean())]).share == pytest.approx(0, abs=1e-6)
    flat = np.ones((100, 1), "f4")
    assert [gate.agree([NUMBERS], [flat], [each]).share for each in (flat, flat + np.float32(1))] == [1, 0]


def test_labels_are_equal_or_not_and_the_least_output_decides():
    spec = TensorSpec(name="label", datatype="BYTES", shape=(-1,), semantic="label")
    want = np.array([b"x", b"y"] * 30, object)
    got = want.copy()
    got[0] = b"y"
    found = gate.agree([spec, NUMBERS], [want, np.arange(60.0)[:, None]], [got, np.arange(60.0)[:, None]])
    assert found.share == 59 / 60
    assert found.worst_class == "x"


def test_nan_is_no_answer():
    want = probabilities(np.zeros(40, int))
    broken = want.copy()
    broken[3, 1] = np.nan
    assert "'p' is NaN or infinite on 1 of 40 rows" in gate.agree([CLASSES], [want], [broken]).broken
    assert "has shape [40, 2], not [40, 3]" in gate.agree([CLASSES], [want], [want[:, :2]]).broken


def figures(**given):
    known = {"recipe": "int8", "agreement": 0.995, "worst": 0.9, "worst_class": "b", "ms": 1.0, "speedup": 2.0}
    return OptimizationTry(**(known | given))


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({}, ""),
        ({"agreement": 0.164}, "agrees on 16.40%, below 99.00%"),
        ({"speedup": 0.3}, "0.30 x as fast, below 1.2 x"),
        ({"worst": 0.5}, "class b agrees on 50.0%, below 80.0%"),
        ({"worst": None}, ""),
        ({"agreement": 0.5, "speedup": 1.0}, "agrees on 50.00%, below 99.00%; 1.00 x as fast, below 1.2 x"),
    ],
    ids=["passes", "ruined", "slow", "one-class", "no-classes", "both"],
)
def test_a_try_is_rejected_with_every_reason(given, reason):
    assert gate.judge(gate.Gate(), figures(**given)) == reason


def test_the_fastest_that_passed_wins():
    tries = [figures(recipe="a"), figures(recipe="b", speedup=3.0), figures(recipe="c", speedup=9.0, rejected="no")]
    assert gate.winner(tries).recipe == "b"
    assert gate.winner([figures(rejected="no")]) is None
