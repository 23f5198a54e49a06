"""Messages of a key's streams are counted by one bucket."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.serving.grpc import MOST_KEYS, Bucket, Rates
from argosy.serving.internal_headers import KEY, RATE


@given(
    rate=st.floats(0.001, 1000),
    burst=st.integers(1, 50),
    gaps=st.lists(st.floats(0, 10), max_size=200),
)
def test_no_more_than_the_burst_and_the_rate(rate, burst, gaps):
    now, taken, bucket = 0.0, 0, Bucket(rate, burst, 0.0)
    for gap in gaps:
        now += gap
        taken += bucket.take(now)
        assert taken <= burst + now * rate + 1e-6


def test_a_key_has_one_bucket_whatever_its_streams():
    now = [0.0]
    rates = Rates(lambda: now[0])
    one, two, other = (rates.of([(KEY, key), (RATE, "1.0;3")]) or pytest.fail(key) for key in ("k", "k", "o"))
    assert [one(), two(), one(), two(), one()] == [True, True, True, False, False]
    assert other()
    now[0] = 1.5
    assert [two(), one()] == [True, False]
    assert rates.of([(KEY, "k")]) is None
    assert rates.of([(KEY, "k"), (RATE, "no rate")]) is None


def test_keys_that_nobody_gave_fill_nothing():
    rates = Rates()
    for n in range(MOST_KEYS + 100):
        rates.of([(KEY, str(n)), (RATE, "1.0;1")])
    assert len(rates._buckets) == MOST_KEYS
