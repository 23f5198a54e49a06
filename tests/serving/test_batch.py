from hypothesis import given
from hypothesis import strategies as st

from argosy.serving.batch import Waiting, decide

jobs = st.builds(Waiting, st.integers(1, 12), st.sampled_from("ab"), st.floats(0, 10))
queues = st.lists(jobs, max_size=30)


@given(queues, st.floats(0, 20), st.integers(1, 16), st.sampled_from([0.0, 1.0]))
def test_invariants(queue, now, limit, delay):
    take, reason, wait_until = decide(queue, now, limit, delay)
    if not queue:
        assert (take, reason) == ([], None)
        return
    if reason is None:
        assert delay
        assert wait_until > now
        assert take == []
        return
    assert take[0] == 0
    assert take == sorted(set(take))
    assert len({queue[position].key for position in take}) == 1
    rows = sum(queue[position].rows for position in take)
    assert rows <= limit or len(take) == 1


@given(queues, st.integers(1, 16))
def test_without_delay_a_free_engine_never_waits(queue, limit):
    decision = decide(queue, 0.0, limit)
    assert bool(decision.take) == bool(queue)


@given(queues, st.integers(1, 16))
def test_nobody_of_the_same_shape_is_overtaken(queue, limit):
    take = decide(queue, 0.0, limit).take
    same = [position for position, job in enumerate(queue) if queue and job.key == queue[0].key]
    assert take == same[: len(take)]


@given(queues, st.integers(1, 16))
def test_every_job_is_served_in_the_end(queue, limit):
    rounds = 0
    while queue:
        taken = set(decide(queue, 0.0, limit).take)
        queue = [job for position, job in enumerate(queue) if position not in taken]
        rounds += 1
    assert rounds <= 30


def test_reasons():
    one, other = Waiting(1, "a", 0.0), Waiting(1, "b", 0.0)
    assert decide([one, one], 0.0, 8).reason == "idle"
    assert decide([one] * 9, 0.0, 8).reason == "full"
    assert decide([Waiting(8, "a", 0.0)], 0.0, 8).reason == "full"
    assert decide([one, other], 0.0, 8).reason == "shape"
    assert decide([one], 0.5, 8, 1.0) == ([], None, 1.0)
    assert decide([one], 1.0, 8, 1.0).reason == "delay"
    assert decide([one] * 8, 0.0, 8, 1.0).reason == "full"
