import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.monitoring.feedback.cohort import Delays, bucket, edge, estimate


def test_all_labelled_is_the_plain_share():
    found = estimate({bucket(10): 1, bucket(100): 1, bucket(1000): 2}, [])
    assert found.share == pytest.approx((0.25, 0.5, 1.0))
    assert found.coverage == 1.0
    assert found.within(edge(bucket(100))) == pytest.approx(0.5)


def test_censoring_corrects_for_the_young():
    chance = random.Random(5)
    labelled: dict[int, int] = {}
    waiting = []
    for _ in range(20_000):
        delay, age = chance.expovariate(1 / 86400), chance.uniform(0, 7 * 86400)
        if delay <= age:
            labelled[bucket(delay)] = labelled.get(bucket(delay), 0) + 1
        else:
            waiting.append((age, 1))
    found = estimate(labelled, waiting)
    assert found.within(86400) == pytest.approx(0.632, abs=0.02)
    naive = sum(labelled.values()) / 20_000
    assert naive < 0.88 < found.coverage


def test_predictions_that_never_get_a_label_are_no_immaturity():
    found = estimate({bucket(60): 30}, [(10**7, 70)])
    assert found.coverage == pytest.approx(0.3)
    assert found.maturity(3600) == 1.0
    assert found.maturity(1) < 0.1


def test_nothing_known():
    assert Delays().maturity(100) == 0
    assert estimate({}, [(10, 5)]) == Delays()


@given(
    st.dictionaries(st.integers(0, 300), st.integers(1, 50)), st.lists(st.tuples(st.floats(0, 1e7), st.integers(1, 9)))
)
def test_it_is_a_distribution(labelled, waiting):
    found = estimate(labelled, waiting)
    assert all(0 <= a <= b <= 1 + 1e-12 for a, b in zip((0, *found.share), found.share, strict=False))
    assert all(error >= 0 for error in found.error)
