"""Assigning fragments to workers that die: everything is done once, and only a fragment that kills is blamed."""

from hypothesis import given
from hypothesis import strategies as st

from argosy.batch import scheduler
from argosy.batch.scheduler import KILLED, LIVES, Schedule


def test_what_came_back_goes_first():
    schedule = Schedule((4, 5, 6))
    first, schedule = scheduler.assign(schedule, 1)
    _, schedule = scheduler.lost(scheduler.reached(schedule, 1, 4, 0), 1, killed=False)
    again, schedule = scheduler.assign(schedule, 2)
    assert (first, again, schedule.waiting) == (4, 4, 2)


def deaths(*kinds, rows=lambda worker: 7):
    """The blame after each death of a worker that holds fragment 0: `c` crashed, `k` was killed."""
    schedule = Schedule((0,))
    found = []
    for worker, kind in enumerate(kinds):
        _, schedule = scheduler.assign(schedule, worker)
        if (at := rows(worker)) is not None:
            schedule = scheduler.reached(schedule, worker, 0, at)
        blamed, schedule = scheduler.lost(schedule, worker, killed=kind == "k")
        found.append(blamed and blamed.number)
    return found


def test_crashes_at_one_row_in_a_row_blame_the_fragment():
    assert deaths(*"c" * LIVES) == [None] * (LIVES - 1) + [0]


def test_kills_speak_less_than_crashes():
    assert deaths(*"k" * KILLED) == [None] * (KILLED - 1) + [0]
    assert deaths(*"ckckc")[-1] == 0
    assert deaths(*"ckckk")[-1] is None


def test_a_fragment_that_gets_further_is_not_blamed():
    assert deaths(*"c" * 20, rows=lambda worker: worker) == [None] * 20


def test_who_dies_before_it_has_begun_blames_nothing():
    assert deaths(*"c" * 20, rows=lambda worker: None) == [None] * 20


def test_who_hung_has_crashed_although_it_was_killed():
    schedule = Schedule((0,))
    for worker in range(LIVES):
        _, schedule = scheduler.assign(schedule, worker)
        blamed, schedule = scheduler.lost(scheduler.reached(schedule, worker, 0, 7), worker, hung=True)
        assert (blamed is not None) is (worker == LIVES - 1)


def test_who_hangs_before_it_has_begun_blames_what_it_was_to_begin():
    schedule, found = Schedule((0,)), []
    for worker in range(LIVES):
        _, schedule = scheduler.assign(schedule, worker)
        blamed, schedule = scheduler.lost(schedule, worker, hung=True)
        found.append(blamed and blamed.number)
    assert found == [None] * (LIVES - 1) + [0]


def test_who_hangs_while_a_fragment_is_written_does_not_blame_the_one_it_was_given_further():
    _, schedule = scheduler.assign(Schedule((0, 1)), 1)
    _, schedule = scheduler.assign(scheduler.answered(scheduler.reached(schedule, 1, 0, 7), 1, 0), 1)
    _, schedule = scheduler.lost(schedule, 1, hung=True)
    assert (dict(schedule.deaths), schedule.returned) == ({0: scheduler.Deaths(7, crashed=1)}, (0, 1))


def test_who_has_answered_a_fragment_gets_another_before_its_entry_is_there():
    _, schedule = scheduler.assign(Schedule((4, 5, 6)), 1)
    assert not scheduler.free(schedule, 1)
    schedule = scheduler.answered(schedule, 1, 4)
    assert scheduler.free(schedule, 1)
    _, schedule = scheduler.assign(schedule, 1)
    assert not scheduler.free(schedule, 1)
    schedule = scheduler.finished(schedule, 1, 4)
    assert [one.number for one in schedule.assigned[1]] == [5]
    _, schedule = scheduler.lost(scheduler.reached(scheduler.answered(schedule, 1, 5), 1, 5, 0), 1, killed=True)
    assert scheduler.assign(schedule, 2)[0] == 5


def crash(schedule, worker, *, at):
    """A worker answers a fragment, is given a further one if it may be, gets to row `at` of it, and dies."""
    first, schedule = scheduler.assign(schedule, worker)
    schedule = scheduler.answered(scheduler.reached(schedule, worker, first, 9), worker, first)
    if scheduler.free(schedule, worker):
        second, schedule = scheduler.assign(schedule, worker)
        if second is not None:
            schedule = scheduler.reached(schedule, worker, second, at)
    return scheduler.lost(schedule, worker, killed=False)


def test_a_fragment_that_kills_when_it_is_written_is_told_from_the_one_after_it():
    schedule, found = Schedule((0, 1)), []
    for worker in range(10):
        if schedule.returned[:1] == (1,):
            _, schedule = scheduler.assign(schedule, worker)
            schedule = scheduler.finished(scheduler.reached(schedule, worker, 1, 9), worker, 1)
        blamed, schedule = crash(schedule, worker, at=worker)
        found.append(blamed and blamed.number)
    assert found[:LIVES] == [None] * (LIVES - 1) + [0]


def test_a_fragment_that_somebody_died_at_is_done_alone():
    _, schedule = crash(Schedule((0, 1, 2)), 1, at=3)
    number, schedule = scheduler.assign(schedule, 2)
    schedule = scheduler.answered(schedule, 2, number)
    assert number == 0
    assert not scheduler.free(schedule, 2)
    assert scheduler.free(scheduler.finished(schedule, 2, 0), 2)


EVENTS = st.tuples(st.integers(0, 3), st.sampled_from(["work", "die", "answer", "finish"]))


@given(st.integers(1, 12), st.lists(EVENTS))
def test_every_fragment_is_done_once_whoever_dies(count, events):
    schedule, done, place = Schedule(tuple(range(count))), [], dict.fromkeys(range(4), 0)
    fresh = iter(range(4, 10_000))
    names = {slot: slot for slot in range(4)}
    ends = [(0, "finish")] * (count + 8) + [(slot, "finish") for slot in (1, 2, 3)] * 12
    for slot, what in [*events, *ends, *ends[:count]]:
        worker = names[slot]
        if scheduler.free(schedule, worker):
            _, schedule = scheduler.assign(schedule, worker)
        held = schedule.assigned.get(worker, ())
        if not held:
            continue
        place[slot] += 1
        if what == "work":
            schedule = scheduler.reached(schedule, worker, held[-1].number, place[slot])
        elif what == "answer":
            schedule = scheduler.answered(schedule, worker, held[-1].number)
        elif what == "finish":
            done.append(held[0].number)
            schedule = scheduler.finished(schedule, worker, held[0].number)
        else:
            _, schedule = scheduler.lost(schedule, worker, killed=False)
            names[slot] = next(fresh)
    while not schedule.done:
        _, schedule = scheduler.assign(schedule, 0) if scheduler.free(schedule, 0) else (None, schedule)
        for worker, held in list(schedule.assigned.items()):
            for one in held:
                done.append(one.number)
                schedule = scheduler.finished(schedule, worker, one.number)
    assert sorted(done) == list(range(count))
