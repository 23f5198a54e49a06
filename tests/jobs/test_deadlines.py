"""Where runs with a deadline work, by what is seen of them."""

import msgspec

from argosy.jobs.deadlines import CHANGEOVER, TICK, Deadlines
from argosy.jobs.folder import Progress
from argosy.jobs.slots import IdleUse
from argosy.spec.batch import BatchJob, Submission
from argosy.store.jobs import Run

HOUR = 3600.0
BATCH = BatchJob(model="m:1", inputs=("in",), output="out")
CORES = Submission(name="night", batch=BATCH, deadline=HOUR)
SLOTS = Submission(name="night", batch=msgspec.structs.replace(BATCH, idle="chat"), deadline=HOUR)


def played(job, total, rate, until=HOUR, own_rate=1.0, running=4):
    """The seconds at which a run changes over, whether to its own, and its rows when it is done or the time is over:
    `rate` tells rows a second on what is idle at a moment."""
    now, rows, own, moves, seconds = 0.0, 0.0, False, [], 0.0
    deadlines, run, begins = Deadlines(lambda: now), Run(job="night", number=1, state="running", due=0.0), 0.0
    while now < until and rows < total:
        now += 1.0
        speed = 0.0 if now < begins else own_rate if own else rate(now)
        rows = min(total, rows + speed)
        seconds += running if speed and not own else 0.0
        use = IdleUse(running=running if speed else 0, seconds=seconds) if job is SLOTS and not own else None
        if deadlines.look(run, job, Progress(rows=int(rows), total=total), use, own=own):
            own, begins = not own, now + CHANGEOVER
            moves.append((now, own))
    return moves, rows, deadlines.reason("night-1")


def test_a_run_that_is_soon_enough_stays_on_what_is_idle():
    moves, rows, reason = played(CORES, 1000, lambda now: 1.0)
    assert (moves, rows) == ([], 1000)
    assert reason.startswith("idle cores: it is due in ")
    assert played(SLOTS, 1000, lambda now: 1.0)[0] == []


def test_without_a_deadline_nothing_is_decided():
    free = msgspec.structs.replace(CORES, deadline=0.0)
    assert played(free, 1e9, lambda now: 0.0)[0] == []


def test_a_run_whose_idle_capacity_goes_away_is_done_in_time_on_its_own():
    for job in (CORES, SLOTS):
        moves, rows, reason = played(job, 1500, lambda now: 1.0 if now < 600 else 0.0)
        assert rows == 1500
        assert moves[0][1]
        assert moves[0][0] > 600
        assert reason.startswith("on its own: it is due in ")


def test_it_waits_for_what_is_idle_while_there_is_time():
    moves, rows, _ = played(CORES, 1500, lambda now: 1.0 if now < 300 or now > 1200 else 0.0)
    assert (moves, rows) == ([], 1500)


def test_of_slots_a_few_are_as_much_less_than_an_engine_of_its_own():
    few = played(SLOTS, 1500, lambda now: 0.25 if now < 1200 else 0.0, running=1)
    assert few[1] == 1500, "four slots of its own are four times one idle slot"
    assert few[0][0][0] > 1200


def test_what_nothing_is_known_of_works_on_its_own_after_a_quarter():
    moves, rows, reason = played(CORES, 1500, lambda now: 0.0)
    assert moves[0] == (HOUR / 4 + TICK, True) or moves[0][0] - HOUR / 4 <= 2 * TICK
    assert rows == 1500
    assert "is not known" in played(CORES, 1500, lambda now: 0.0, until=60.0)[2]
    assert reason


def test_a_run_that_is_over_is_forgotten():
    deadlines, now = Deadlines(lambda: now), HOUR
    run = Run(job="night", number=1, state="running", due=0.0)
    deadlines.look(run, CORES, None, None, own=False)
    now += TICK
    assert deadlines.look(run, CORES, None, None, own=False)
    assert deadlines.own("night-1")
    deadlines.forget("night-1")
    assert (deadlines.own("night-1"), deadlines.reason("night-1")) == (False, "")
