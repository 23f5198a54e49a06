"""The simulation of deferred work in idle slots."""

import numpy as np
import pytest

from argosy.capacity.idle import IdlePolicy
from argosy_simulators.idle import Filling, Pool, greedy, nothing, ours, simulate, slow
from argosy_simulators.trace import Trace

POOL = Pool(replicas=2, slots=2, slow=(1.0, 1.0))
ITEMS = np.array([5.0])


def trace(*came: tuple[float, float]) -> Trace:
    arrivals, services = zip(*came, strict=True)
    return Trace("t", np.array(arrivals), np.array(services))


def test_without_work_requests_take_their_time_and_wait_only_for_each_other():
    found = simulate("n", trace(*((0.0, 4.0),) * 5, (30.0, 1.0)), POOL, Filling(nothing), ITEMS)
    assert (found.filled, found.done, found.pushed) == (0.0, 0, 0)
    assert found.p50 == pytest.approx(4.0)
    assert found.p99 == pytest.approx(8.0, abs=0.2)
    assert found.wait == pytest.approx(4.0, abs=0.3)


def test_a_request_waits_for_work_that_is_never_pushed_out_but_not_for_ours():
    came = trace((0.0, 0.1), *((at + 0.5, 1.0) for at in range(1, 200)))
    waits = simulate("g", came, POOL, Filling(greedy), ITEMS)
    mine = simulate("o", came, POOL, ours(IdlePolicy()), ITEMS)
    assert waits.pushed == 0
    assert waits.wait > 1.0
    assert mine.wait <= POOL.release + 1e-9
    assert mine.filled > 0.7
    assert mine.done > 0


def test_what_is_pushed_out_goes_on_and_what_it_reads_again_is_lost():
    pool = Pool(replicas=1, slots=1, slow=(1.0,), release=0.0, resume=2.0)
    came = trace((0.0, 1.0), (5.0, 1.0), (20.0, 1.0))
    found = simulate("o", came, pool, ours(IdlePolicy(late=1.0)), np.array([10.0]))
    assert found.pushed == 2
    assert found.done == 1  # 4 s, then again 2 s of them and the other 6 s, from 6 to 14
    assert found.lost * 18 == pytest.approx(4.0)
    assert found.filled * 18 == pytest.approx(18.0 - 4.0)


def test_a_profile_is_read_between_its_points_and_never_falls():
    assert slow([(1, 2.0), (4, 2.6), (2, 1.9)], 4) == pytest.approx((1.0, 1.0, 1.125, 1.3))
