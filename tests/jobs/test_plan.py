"""What starts when: limits, schedules, overlaps, attempts."""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.jobs.plan import ATTEMPTS, Due, ended, following, plan
from argosy.spec.errors import INTERRUPTED, InvalidArgument, StorageFull, Unavailable
from argosy.store.jobs import OVER, Job, Run

NIGHTLY = ("30 2 * * *", "Europe/Berlin")


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def job(name: str, next: float | None = None, cancelled: float | None = None) -> Job:
    return Job(name=name, spec="{}", created=0.0, next=next, cancelled=cancelled)


def run(name: str, state: str = "queued", due: float = 0.0, after: float = 0.0, attempts: int = 0) -> Run:
    return Run(job=name, number=1, state=state, due=due, after=after, attempts=attempts)


def test_the_longest_due_starts_first_and_no_more_than_there_is_room_for():
    runs = [run("c", due=3.0), run("a", "running"), run("b", due=2.0), run("d", due=1.0, after=99.0)]
    assert plan([], {}, runs, 10.0, 2) == [runs[2]]
    assert plan([], {}, runs, 10.0, 1) == []
    assert plan([], {}, runs, 100.0, 4) == [runs[3], runs[2], runs[0]]


def test_a_moment_that_comes_while_the_last_run_goes_on_is_left_out():
    nightly = {"n": NIGHTLY}
    due = at("2026-01-31T01:30")
    assert plan([job("n", due)], nightly, [], due - 1, 1) == []
    (free,) = plan([job("n", due)], nightly, [], due, 1)
    assert free == Due("n", due, at("2026-02-01T01:30"), queue=True)
    busy = plan([job("n", due)], nightly, [run("n", "running")], due, 1)
    assert busy == [Due("n", due, at("2026-02-01T01:30"), queue=False)]
    assert plan([job("n", due, cancelled=1.0)], nightly, [], due, 1) == []


def test_moments_that_were_missed_are_made_up_for_once():
    due = at("2026-01-01T01:30")
    (one,) = plan([job("n", due)], {"n": NIGHTLY}, [], at("2026-01-31T12:00"), 1)
    assert one == Due("n", due, at("2026-02-01T01:30"), queue=True)


@pytest.mark.parametrize(
    ("before", "moments"),
    [
        ("2026-03-28T12:00", ["2026-03-29T01:00", "2026-03-30T00:30"]),
        ("2026-10-24T12:00", ["2026-10-25T00:30", "2026-10-26T01:30"]),
    ],
)
def test_daylight_saving_leaves_no_night_out_and_runs_none_twice(before: str, moments: list[str]):
    now, found = at(before), []
    for _ in moments:
        now = following(*NIGHTLY, now)
        found.append(now)
    assert found == [at(each) for each in moments]


@pytest.mark.parametrize(
    ("cron", "zone", "word"),
    [
        ("61 * * * *", "UTC", "schedule"),
        ("hourly", "UTC", "schedule"),
        ("0 0 30 2 *", "UTC", "schedule"),
        ("* * * * *", "Mars/Olympus", "time zone"),
        ("* * * * *", "../../etc/passwd", "time zone"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(cron: str, zone: str, word: str):
    with pytest.raises(InvalidArgument, match=word):
        following(cron, zone, 0.0)


def test_what_may_go_through_is_tried_again_and_later_each_time():
    began = run("a", "running", attempts=1)
    waits = [ended(msgspec.structs.replace(began, attempts=n), -9, "", 100.0, cancelled=False) for n in (1, 2, 3)]
    assert [(each.state, each.after) for each in waits] == [("queued", 110.0), ("queued", 130.0), ("queued", 190.0)]
    assert ended(msgspec.structs.replace(began, attempts=ATTEMPTS), -9, "", 100.0, cancelled=False).state == "failed"


@pytest.mark.parametrize(
    ("exit", "cancelled", "state"),
    [
        (0, False, "succeeded"),
        (0, True, "succeeded"),
        (None, False, "queued"),
        (Unavailable.exit, False, "queued"),
        (StorageFull.exit, False, "queued"),
        (INTERRUPTED, False, "queued"),
        (INTERRUPTED, True, "cancelled"),
        (InvalidArgument.exit, False, "failed"),
        (-15, True, "cancelled"),
        (None, True, "cancelled"),
    ],
)
def test_how_a_run_ends(exit: int | None, cancelled: bool, state: str):
    assert ended(run("a", "running", attempts=1), exit, "why", 5.0, cancelled=cancelled).state == state


@given(st.lists(st.tuples(st.sampled_from(["queued", "running"]), st.floats(0, 100)), max_size=12), st.integers(1, 5))
def test_never_more_than_the_limit(states: list[tuple[str, float]], limit: int):
    runs = [run(f"j{place}", state, due) for place, (state, due) in enumerate(states)]
    starts = plan([], {}, runs, 50.0, limit)
    going = sum(each.state == "running" for each in runs)
    assert len(starts) == min(max(0, limit - going), len(runs) - going)
    assert all(each.state not in OVER for each in starts)
