import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argosy.profiles.quantiles import FULL, Sketches, merge, quantiles, sound
from argosy.spec.errors import InvalidArgument


def sketch(n: int) -> bytes:
    sketches = Sketches(1)
    sketches.update(np.random.default_rng(n).standard_normal((1, n)))
    return sketches.freeze()[0]


@pytest.mark.parametrize("n", [0, 1, 2, 7, 199, 200, 201, 1000, 30_000, 1_000_000])
def test_what_the_library_writes_is_sound(n):
    one = sketch(n)
    assert sound(one)
    assert sound(merge([one, one, sketch(300)]))


def test_of_nothing_there_are_no_quantiles():
    assert quantiles(sketch(0), [0.5]) == []
    assert quantiles(merge([sketch(0), sketch(1)]), [0.5]) == pytest.approx([0.345], abs=0.01)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 5000), st.integers(0, 24), st.integers(0, 255))
def test_broken_sketches_are_refused_before_they_are_read(end, place, byte):
    whole = sketch(5000)
    for broken in (whole[: end % len(whole)], whole + b"\0"):
        with pytest.raises(InvalidArgument, match="cut short or broken"):
            quantiles(broken, [0.5])
    altered = bytearray(whole)
    altered[place] = byte
    with contextlib.suppress(InvalidArgument):
        assert len(quantiles(bytes(altered), [0.5])) <= 1


@pytest.mark.parametrize("n", [FULL, FULL + 4096, 400_000])
def test_a_busy_minute_keeps_its_error_and_its_weight(n: int):
    values = np.random.default_rng(n).standard_normal((2, n))
    values[1] = np.sort(values[1])
    sketches = Sketches(2)
    for start in range(0, n, 4096):
        sketches.update(values[:, start : start + 4096])
    at = np.linspace(0.01, 0.99, 99)
    for one, column in zip(sketches.freeze(), values, strict=True):
        assert sound(one)
        found = quantiles(merge([one, sketch(0)]), list(at))
        assert np.abs(np.searchsorted(np.sort(column), found) / n - at).max() < 0.025
        double = quantiles(merge([one, sketch(1)]), [0.5])
        assert double == pytest.approx([0], abs=0.1)
