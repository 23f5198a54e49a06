import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.monitoring.feedback import intake
from argosy.monitoring.feedback.event import Label, accept, plain
from argosy.store import duck

NOW = 1.8e9


def taken(**fields):
    return accept([Label(**({"request_id": "a", "label": 1} | fields))], NOW)


def test_times():
    assert taken().labels[0].time == NOW * 1e6
    assert taken(time=NOW - 10).labels[0].time == (NOW - 10) * 1e6
    assert taken(time="2026-01-31T12:00").labels[0].time == taken(time="2026-01-31T13:00+01:00").labels[0].time
    assert taken(time=NOW + 200).labels[0].time == NOW * 1e6


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"time": NOW + 400}, "400 s in the future"),
        ({"time": NOW * 1000}, "no time in seconds"),
        ({"time": "soon"}, "not ISO 8601"),
        ({"time": float("nan")}, "seconds since 1970"),
        ({"request_id": ""}, "request_id must have"),
        ({"request_id": "x" * 300}, "request_id must have"),
        ({"label": float("inf")}, "finite"),
        ({"label": "x" * 2000}, "at most 1024"),
        ({"row": -1}, "row must be"),
        ({"version": 2**31}, "version must be"),
    ],
)
def test_what_cannot_be_right_is_refused_and_holds_up_nothing(fields, reason):
    found = accept([Label(**({"request_id": "a", "label": 1} | fields)), Label(request_id="b", label=2)], NOW)
    assert [one.request_id for one in found.labels] == ["b"]
    assert found.refused[0].index == 0
    assert reason in found.refused[0].reason


def test_one_text_for_one_class():
    assert {plain(value) for value in (3, 3.0, "3", "3.0", " 3 ", "3e0")} == {"3"}
    assert {plain(value) for value in (True, "true", "TRUE", 1)} == {"1"}
    assert [plain(value) for value in ("cat", 0.5, "", "nan", -0.0)] == ["cat", "0.5", "", "nan", "0"]


@given(
    st.one_of(
        st.booleans(), st.integers(-(10**14), 10**14), st.sampled_from(["true", "3.0", "cat", "1e3", " 7", "x y"])
    )
)
def test_sql_writes_them_alike(value):
    with duck.opened() as connection:
        connection.execute(intake.PLAIN)
        assert connection.execute("SELECT plain(?)", [value]).fetchone()[0] == plain(value)
