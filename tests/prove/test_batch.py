"""kill -9 of a batch job's workers and driver, a few times; `make prove` does it a thousand times."""

import msgspec
import pytest

from prove.batch import Found, prove


@pytest.mark.slow
def test_ten_kills_lose_and_double_nothing():
    found = prove(kills=10, seed=2)
    assert found.good, found.line()
    assert sum(found.kills.values()) == 10
    assert found.answered_again <= found.asked_again


def test_what_must_not_happen_is_told():
    good = Found(
        rows=9, lost=0, doubled=0, wrong=0, disordered=0, strays=0, identical=True, answered_again=0.001,
        asked_again=0.002, kills={"worker": 3}, seconds=1.0,
    )  # fmt: skip
    assert good.good
    for bad in ({"lost": 1}, {"doubled": 1}, {"strays": 1}, {"identical": False}, {"answered_again": 0.006}):
        assert not msgspec.structs.replace(good, **bad).good
    assert "3 kills (3 of worker)" in good.line()
