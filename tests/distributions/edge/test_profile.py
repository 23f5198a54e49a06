"""What a device counts is what the platform's own recorder counts."""

import itertools

import msgspec
import numpy as np
import pytest

from argosy.packaging import profile as packaged
from argosy.profiles.profile import Profile, check, decode, encode
from argosy.profiles.recorder import Recorder
from argosy_edge.clock import Clock
from argosy_edge.counting import MAX_TEXT
from argosy_edge.profile import Profiler
from tests.profiles.models import COUNTRIES, rows, small

NOON = 1_800_000_000.0


class Machine:
    """A machine's clocks: `wall` may leap, `steady` does not."""

    def __init__(self, wall=NOON):
        self.at, self.ahead = 0.0, wall

    def wall(self):
        return self.at + self.ahead

    def steady(self):
        return self.at


@pytest.fixture
def machine():
    return Machine()


@pytest.fixture
def clock(tmp_path, machine):
    return Clock(tmp_path / "clock", 1, machine.wall, machine.steady)


def reference(where):
    """As it arrives: JSON of JSON."""
    return msgspec.json.decode(msgspec.json.encode(where.columns))


def odd(n, seed=0):
    """Rows with all that is special: gaps, infinities, values outside the bins, values that are not listed."""
    inputs, outputs = rows(n, seed)
    x = inputs["x"].copy()
    x[::7, 0], x[1::7, 1], x[2::7, 2], x[3::11, 3] = np.nan, np.inf, 1e9, -1e9
    country = inputs["country"].copy()
    country[::5], country[1::5] = b"XX", b""
    return {"x": x, "country": country}, outputs


def read(profile):
    """As the platform reads it."""
    return msgspec.convert(msgspec.json.decode(msgspec.json.encode(profile)), Profile)


@pytest.mark.parametrize("sizes", [(1,) * 40, (500,), (3, 5000, 2)], ids=["one by one", "at once", "mixed"])
def test_it_is_what_the_recorder_counts_of_the_same_rows(clock, sizes):
    where = small()
    profiler, recorder = Profiler(clock), Recorder(where, "digits:3", seed=0)
    profiler.watch("digits:3", reference(where), texts=True)
    for seed, size in enumerate(sizes):
        profiler.add("digits:3", *odd(size, seed))
        recorder.add(clock.now(), *odd(size, seed))
    (ours,) = (read(one.of(clock)) for one in profiler.take(whole=False))
    (theirs,) = recorder.take(clock.now() + 60)
    assert ours == msgspec.structs.replace(theirs, sketches=())
    check(where, ours)
    assert decode(encode(ours)) == ours
    assert profiler.misfits == 0


def test_rows_go_to_the_minutes_in_which_they_came_each_once(clock, machine):
    where = small()
    profiler = Profiler(clock)
    profiler.watch("m", reference(where))
    for _ in range(10):
        profiler.add("m", *rows(2))
        machine.at += 20
    found = [read(one.of(clock)) for one in profiler.take()]
    assert len(found) == 3
    found += [read(one.of(clock)) for one in profiler.take(whole=False)]
    assert [(one.start - found[0].start, one.rows) for one in found] == [(0, 6), (1, 6), (2, 6), (3, 2)]
    assert found[0].start == int(NOON // 60)
    assert profiler.take() == []


def test_texts_that_the_reference_does_not_list_do_not_leave_the_device(clock):
    where = small()
    profiler = Profiler(clock)
    profiler.watch("m", reference(where))
    inputs, outputs = odd(50)
    inputs["country"][:10] = b"somebody@example.com"
    profiler.add("m", inputs, outputs)
    (one,) = (read(each.of(clock)) for each in profiler.take(whole=False))
    assert {*one.values[0].frequent} <= {name.decode() for name in COUNTRIES}
    assert one.cells(where, "country").sum() == 50
    assert b"example" not in msgspec.json.encode(one)


def test_sums_beyond_the_range_of_floats_are_sent_as_none(clock):
    where = small()
    profiler = Profiler(clock)
    profiler.watch("m", reference(where))
    inputs, outputs = rows(4)
    profiler.add("m", inputs, outputs | {"p": np.array([1e308, 1e308, -1e308, 1e308])})
    (one,) = (read(each.of(clock)) for each in profiler.take(whole=False))
    assert one.rows == 4
    assert any(moments.count == 0 for moments in one.moments)


@pytest.mark.parametrize(
    "wrong",
    [{"x": np.zeros((2, 2), np.float32)}, {"x": np.zeros(3, np.float32)}, {"x": np.array([["a"] * 5], object)}],
    ids=["narrow", "no table", "texts"],
)
def test_rows_that_do_not_fit_are_counted_as_such_and_hurt_nothing(clock, wrong):
    where = small()
    profiler = Profiler(clock)
    profiler.watch("m", reference(where))
    profiler.add("m", wrong, {})
    profiler.add("m", *rows(3))
    (one,) = profiler.take(whole=False)
    assert one.profile["rows"] == 3
    assert profiler.misfits == len(wrong["x"])
    profiler.add("other", *rows(3))
    assert profiler.take(whole=False) == []


def test_a_version_is_forgotten_after_what_was_counted_of_it(clock):
    profiler = Profiler(clock)
    for name in ("m:1", "m:2"):
        profiler.watch(name, reference(small()))
    profiler.add("m:1", *rows(3))
    profiler.forget("m:1")
    profiler.add("m:1", *rows(3))
    profiler.add("m:2", *rows(5))
    assert [(one.profile["version"], one.profile["rows"]) for one in profiler.take(whole=False)] == [
        ("m:1", 3),
        ("m:2", 5),
    ]


def test_a_first_session_places_what_came_before_it(tmp_path, machine):
    machine.ahead = 120.0  # 1970
    clock = Clock(tmp_path / "clock", 1, machine.wall, machine.steady)
    profiler = Profiler(clock)
    profiler.watch("m", reference(small()))
    for _ in range(3):
        profiler.add("m", *rows(1))
        machine.at += 60
    early = profiler.take()
    clock.sync(NOON)
    profiler.add("m", *rows(1))
    machine.at += 60
    late = profiler.take()
    minutes = [one.of(clock)["start"] for one in (*early, *late)]
    assert [b - a for a, b in itertools.pairwise(minutes)] == [1, 1, 1]
    assert minutes[-1] == pytest.approx(NOON / 60, abs=1)


def test_the_constants_are_those_of_reference_profiles():
    assert MAX_TEXT == packaged.MAX_TEXT
