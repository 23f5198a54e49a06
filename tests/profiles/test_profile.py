import os
import time

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argosy.profiles import quantiles
from argosy.profiles.layout import layout
from argosy.profiles.profile import Profile, check, decode, encode, merge, minute, spoken
from argosy.profiles.recorder import Recorder
from argosy.spec.errors import InvalidArgument
from tests.profiles.models import SIGNATURE, reference, rows, small

WHERE = small()


def of(n: int, seed: int, at: float = 60.0) -> Profile:
    recorder = Recorder(WHERE, "m:1", batch=max(n, 1))
    inputs, outputs = rows(n, seed)
    inputs["x"][: n // 5, 1] = np.nan
    inputs["x"][n // 2 : n // 2 + 2, 2] = np.inf
    recorder.add(at, inputs, outputs)
    return recorder.take(at + 120)[0]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 400), st.integers(0, 9), st.integers(0, 5)), min_size=3, max_size=5))
def test_merging_is_associative_and_commutative(parts):
    profiles = [of(n, seed, 60.0 * at) for n, seed, at in parts]
    a, b, *rest = profiles
    flat = merge(WHERE, profiles)
    nested = merge(WHERE, [merge(WHERE, [b, *rest[::-1]]), a])
    assert (flat.counts, flat.rows, flat.start, flat.end) == (nested.counts, nested.rows, nested.start, nested.end)
    for one, other in zip(flat.moments, nested.moments, strict=True):
        assert (one.count, one.min, one.max) == (other.count, other.min, other.max)
        assert (one.mean, one.m2) == pytest.approx((other.mean, other.m2), rel=1e-9, abs=1e-9)
    assert flat.values == nested.values
    for one, other in zip(flat.sketches, nested.sketches, strict=True):
        ours, theirs = quantiles.quantiles(one, [0.25, 0.75]), quantiles.quantiles(other, [0.25, 0.75])
        assert ours == pytest.approx(theirs, abs=0.3)


def test_merging_equals_counting_at_once():
    apart = merge(WHERE, [of(300, 1), of(200, 2)])
    x = np.concatenate([rows(300, 1)[0]["x"], rows(200, 2)[0]["x"]])
    assert apart.rows == 500
    assert apart.moments[0].mean == pytest.approx(x[:, 0].mean(), abs=1e-6)
    assert apart.moments[0].std == pytest.approx(x[:, 0].std(), rel=1e-5)
    assert apart.moments[0].max == x[:, 0].max()
    assert apart.cells(WHERE, "income")[-1] == 60 + 40
    assert apart.cells(WHERE, "score")[-2] == 4


def test_the_sketch_knows_the_quantiles():
    assert quantiles.quantiles(of(4000, 3).sketches[0], [0.1, 0.5, 0.9]) == pytest.approx([-1.28, 0, 1.28], abs=0.12)


def test_profiles_survive_the_wire():
    one = of(100, 1)
    assert decode(encode(one)) == one


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 4000), st.integers(1, 255))
def test_bytes_that_are_cut_or_altered_are_refused(place, change):
    data = encode(of(100, 1))
    place %= len(data)
    with pytest.raises(InvalidArgument, match="no profile, or it was cut short or altered"):
        decode(data[:place])
    broken = bytearray(data)
    broken[place] ^= change
    with pytest.raises(InvalidArgument):
        decode(bytes(broken))


def test_a_profile_of_another_signature_is_refused():
    other = layout(reference(seed=9), SIGNATURE)
    with pytest.raises(InvalidArgument, match="'m:1' from 1970-01-01 00:01 UTC was counted against another reference"):
        merge(other, [of(10, 1)])


def test_versions_and_segments_do_not_mix():
    one = of(10, 1)
    with pytest.raises(InvalidArgument, match="different versions or segments do not merge: m:1, m:2"):
        merge(WHERE, [one, msgspec.structs.replace(one, version="m:2")])
    with pytest.raises(InvalidArgument, match="no profile to merge"):
        merge(WHERE, [])


@pytest.mark.parametrize("change", [{"counts": (1,)}, {"moments": ()}, {"sketches": (b"",)}, {"values": ()}])
def test_a_profile_that_does_not_fit_its_layout_is_refused(change):
    with pytest.raises(InvalidArgument, match="does not fit its own layout"):
        check(WHERE, msgspec.structs.replace(of(10, 1), **change))


def test_without_sketches_a_merge_has_none():
    one = of(10, 1)
    assert merge(WHERE, [one, msgspec.structs.replace(one, sketches=())]).sketches == ()


def test_minutes_are_utc_whatever_the_clock_on_the_wall(monkeypatch):
    hour_twice = [1729990800.0 + 3600 * hour for hour in range(4)]
    seen = []
    for zone in ("Europe/Berlin", "America/St_Johns", "UTC"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        seen.append([(minute(at), spoken(minute(at))) for at in hour_twice])
    monkeypatch.undo()
    time.tzset()
    assert seen[0] == seen[1] == seen[2]
    assert [minute(at) - minute(hour_twice[0]) for at in hour_twice] == [0, 60, 120, 180]
    assert seen[0][0][1] == "2024-10-27 01:00 UTC"
    assert os.environ.get("TZ") != "America/St_Johns"
