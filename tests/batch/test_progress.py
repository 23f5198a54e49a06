"""How far a job is: counted whatever came from earlier attempts, and shown as a bar or as lines."""

import sys

import pytest

from argosy.batch import progress
from argosy.batch.progress import Meter, View, clock, display, lines, silent


@pytest.fixture
def time(monkeypatch):
    """A clock that stands still until `time.value` is changed."""

    class Clock:
        value = 100.0

    monkeypatch.setattr(progress.time, "monotonic", lambda: Clock.value)
    return Clock


def test_rows_rate_time_left_and_cost(time):
    meter = Meter(earlier=100, total=1000, todo=9, fragments=10, price=36.0)
    time.value += 10
    meter.done(1, 100)
    meter.reached(2, 0)
    meter.reached(2, 50)
    view = meter.view(workers=2)
    assert (view.rows, view.total, view.share) == (250, 1000, 0.25)
    assert (view.rate, view.left, view.cost) == (15.0, 50.0, pytest.approx(0.1))
    assert view.line() == "250 of 1,000 rows (25%), 15 rows/s, 0:50 left, cost so far 0.1000"


def test_what_an_earlier_attempt_answered_counts_as_done_but_not_as_speed(time):
    meter = Meter(earlier=0, total=100, todo=2, fragments=2, price=0.0)
    time.value += 2
    meter.reached(0, 40)
    assert (meter.view(1).rows, meter.view(1).rate) == (40, 0.0)
    meter.reached(0, 44)
    assert (meter.view(1).rows, meter.view(1).rate) == (44, 2.0)
    meter.done(0, 50)
    assert (meter.view(1).rows, meter.view(1).rate) == (50, 5.0)


def test_a_worker_that_died_is_not_counted_twice(time):
    meter = Meter(earlier=0, total=100, todo=2, fragments=2, price=0.0)
    time.value += 1
    meter.reached(0, 0)
    meter.reached(0, 30)
    meter.reached(0, 30)
    meter.done(0, 50)
    assert meter.view(1).rows == 50
    assert meter.view(1).rate == 50.0


def test_without_a_count_of_rows_fragments_tell_how_far_it_is(time):
    meter = Meter(earlier=500, total=None, todo=4, fragments=8, price=0.0)
    assert meter.view(1).left is None
    time.value += 10
    meter.done(3, 100)
    view = meter.view(1)
    assert (view.share, view.left, view.cost) == (5 / 8, 30.0, None)
    assert view.line() == "600 rows (62%), 10 rows/s, 0:30 left"


def test_an_empty_job_is_done(time):
    assert Meter(earlier=0, total=0, todo=0, fragments=0, price=0.0).view(0).share == 1.0


VIEW = View(rows=1, total=2, share=0.5, rate=1.0, left=3.0, cost=1.0, workers=1, seconds=1.0)


def test_lines_come_seldom_and_the_last_always(time):
    said = []
    with lines(said.append, every=10) as show:
        show(VIEW)
        assert said == []
        time.value += 11
        show(VIEW)
        assert len(said) == 1
    assert said == [VIEW.line()] * 2


def test_without_a_view_there_is_no_line():
    said = []
    with lines(said.append, every=0):
        pass
    assert said == []


def test_a_bar_on_a_terminal_and_lines_elsewhere(monkeypatch, capsys):
    with display() as show:
        show(VIEW)
    assert capsys.readouterr().err == VIEW.line() + "\n"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    with display() as show:
        show(VIEW)
    assert "\u2501" in capsys.readouterr().err
    with silent() as show:
        assert show(VIEW) is None
    assert capsys.readouterr().err == ""


def test_clock():
    assert [clock(0), clock(61), clock(3723)] == ["0:00", "1:01", "1:02:03"]
