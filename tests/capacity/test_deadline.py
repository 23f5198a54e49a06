import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argosy.capacity import deadline as grid
from argosy.capacity.deadline import DeadlineJob, DeadlineObservation, begin, decide
from argosy.capacity.spot import Zone
from argosy_simulators.deadline import ours, replay

JOB = DeadlineJob(
    markets=(Zone(name="a1", region="a", price=0.3), Zone(name="b1", region="b", price=0.5)),
    work=4 * 3600,
    deadline=7 * 3600,
    changeover=600,
    tick=600,
    on_demand=1.0,
)
ONE = msgspec.structs.replace(JOB, markets=JOB.markets[:1])
TICKS = 43


@pytest.fixture(scope="module", autouse=True)
def coarse():
    """A grid that takes no time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grid, "CELLS", 24)
        grid._table.cache_clear()
        yield
        grid._table.cache_clear()


def at(job, elapsed, done, up, running=None, left=0.0):
    seen = DeadlineObservation(elapsed=elapsed * 3600, done=done * 3600, running=running, left=left, up=up)
    return decide(job, seen, begin(job))[0]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=TICKS, max_size=TICKS), st.sampled_from([JOB, ONE]))
def test_no_deadline_is_missed_whatever_the_capacity_does(rows, job):
    up = np.array(rows).T[: len(job.markets)]
    found = replay(up, job, ours(job))
    assert found.late == 0.0
    assert found.cost <= 1 + 3 * found.starts * job.changeover / job.work


def test_where_there_is_always_spot_all_is_done_there_at_the_lower_price():
    found = replay(np.ones((2, TICKS), bool), JOB, ours(JOB))
    assert (found.starts, found.demand) == (1, 0.0)
    assert found.cost == pytest.approx(0.3 * (4 + 1 / 6) / 4)


def test_it_waits_while_there_is_slack_and_pays_when_there_is_none():
    assert at(ONE, 0, 0, (False,)).run is None
    assert at(ONE, 2.75, 0, (True,)).run == -1
    assert "and another loss might miss the deadline" in at(ONE, 2.75, 0, (True,)).reason


def test_a_choice_tells_its_price():
    assert at(JOB, 0, 0, (False, True)).reason == "b1 for 0.50 an hour, 1.00 on demand"
    assert at(JOB, 0, 0, (True, True)).run == 0


def test_spot_that_costs_as_much_as_on_demand_is_not_changed_to():
    dear = msgspec.structs.replace(ONE, markets=(Zone(name="a1", region="a", price=1.0),))
    assert at(dear, 2, 2, (True,), running=-1).run == -1


def test_what_is_lost_often_is_learned():
    state = begin(JOB)
    for look in range(40):
        seen = DeadlineObservation(elapsed=0.0, done=0.0, running=None, left=0.0, up=(look % 2 == 0, True))
        _, state = decide(JOB, seen, state)
    often, never = state.markets
    assert often.factor(1) > 0 > never.factor(1)
    assert state.replaced / state.losses > 0.9
