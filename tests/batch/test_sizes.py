"""Sizes chosen from what a probe measured."""

from hypothesis import given
from hypothesis import strategies as st

from argosy.batch.sizes import CALL, Measured, Probed, choose, usual
from argosy.spec.batch import BatchJob

ROOM = 16 * 2**30


def job(**options):
    return BatchJob(model="m:1", inputs=("in",), output="/out", **options)


def probed(*measured, memory=2**28, free=ROOM):
    return Probed(tuple(Measured(*one) for one in measured), memory, free)


def test_a_fast_model_gets_large_calls_since_each_costs_something_of_its_own():
    flat = [(1, size, 8e6) for size in (256, 1024, 4096, 16384)]
    assert choose(job(), probed(*flat), 2).batch_size == 16384


def test_a_slow_model_gets_small_calls_which_lose_less_to_a_kill():
    flat = [(1, size, 60.0) for size in (8, 64)]
    assert choose(job(), probed(*flat), 2).batch_size == 8


def test_a_call_costs_what_it_costs_beside_the_engine():
    assert Measured(1, 1000, 1e6).promised == 1000 / (0.001 + CALL)


def test_threads_are_chosen_where_they_promise_more_than_processes():
    assert choose(job(), probed((1, 64, 100.0), (4, 64, 500.0)), 4).workers == 1
    assert choose(job(), probed((1, 64, 100.0), (4, 64, 200.0)), 4).workers == 4


def test_workers_have_room():
    assert choose(job(), probed((1, 64, 100.0), memory=2**30, free=3 * 2**30), 8).workers == 2


MEASURED = st.tuples(st.sampled_from([1, 4]), st.sampled_from([8, 64, 1024]), st.floats(0.01, 1e7))


@given(st.lists(MEASURED, min_size=1), st.integers(0, 3), st.integers(0, 5), st.integers(4, 64))
def test_what_the_job_says_is_kept(measured, workers, batch_size, cores):
    said = job(workers=workers, batch_size=batch_size)
    found = choose(said, probed(*((one, batch_size or size, rate) for one, size, rate in measured)), cores)
    assert found.workers == (workers or found.workers) >= 1
    assert found.batch_size == (batch_size or found.batch_size) >= 1
    assert usual(said, cores).workers == (workers or cores)
