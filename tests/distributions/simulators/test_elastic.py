import numpy as np
import pytest

from argosy.capacity.spot import Hedge, Zone, begin
from argosy_simulators.baselines.static import Static
from argosy_simulators.elastic import Elastic, Spot, play
from argosy_simulators.simulate import Setup, simulate
from argosy_simulators.spot import SpotTrace
from argosy_simulators.trace import Trace, make

BUSY = Trace("busy", np.array([0.0, 0.0, 0.0, 5.0]), np.array([10.0, 10.0, 10.0, 1.0]))
IDLE = Trace("idle", np.array([90.0]), np.array([1.0]))
TWO = Setup(initial=2, concurrency=1, cold_start=10)


def test_one_region_is_the_simulator_of_one_endpoint() -> None:
    random = np.random.default_rng(3)
    trace = make("random", random.random(300) * 200, random.random(300) * 4)
    setup = Setup(initial=1, concurrency=2, cold_start=10)
    run, played = simulate(trace, Static(4, 5.0), setup), play([trace], Static(4, 5.0), setup, Elastic())
    assert played.waits.tolist() == run.waits.tolist()
    paid = sum(min(one.ended, trace.end) - one.asked for one in run.replicas) / 3600
    assert played.hours(0, trace.end) == pytest.approx(paid)
    assert not played.away(0, trace.end)


def test_a_region_answers_for_another_that_is_full() -> None:
    alone = play([BUSY, IDLE], Static(1), TWO, Elastic(together=False))
    assert alone.waits.tolist() == [0, 10, 20, 25, 0]
    together = play([BUSY, IDLE], Static(1), TWO, Elastic())
    assert together.waits.tolist() == [0, 0, 10, 5, 0]  # the last one is refused where one waits already
    assert together.away(0, 90) == pytest.approx(2 / 5)
    assert together.late(0, 90) == pytest.approx(2 / 5)


def test_scaled_as_one_starts_where_most_is_missing() -> None:
    played = play([BUSY, IDLE], Static(3), TWO, Elastic(one=True))
    assert [one.region for one in played.machines] == [0, 1, 0]
    assert played.machines[2].asked == 0


def market(up: list[list[int]], notice: float) -> Spot:
    zones = tuple(Zone(name=name, region=name[:-1], price=0.5) for name in ("a1", "b1"))
    hedge = Hedge(zones=zones, replicas=1, on_demand=1.0)
    trace = SpotTrace(("a1", "b1"), 20.0, np.array(up) > 0)
    return Spot(trace=trace, begin=0, places=(0, 1), hedge=hedge, state=begin(hedge), notice=notice)


@pytest.mark.parametrize(("notice", "again", "waited"), [(0.0, 1, 30.0), (15.0, 0, 0.0)])
def test_what_ran_on_lost_capacity_runs_again(notice: float, again: int, waited: float) -> None:
    trace = make("late", np.array([0.0, 14.0, 61.0]), np.array([1.0, 6.5, 1.0]))
    if notice:
        trace = make("early", np.array([0.0, 2.0, 61.0]), np.array([1.0, 6.5, 1.0]))
    spot = market([[1, 0, 0, 0, 0], [0, 0, 0, 0, 0]], notice)
    played = play([trace], Static(1, 5.0), Setup(initial=1, cold_start=30), Elastic(one=True, spot=spot))
    assert played.again == again
    assert np.isfinite(played.waits).all()
    assert played.waits[1] == pytest.approx(waited + (6.0 if again else 0.0))
    lost = next(one for one in played.machines if one.zone == 0)
    assert lost.ended <= 20
    assert any(one.zone is None and one.price == 1 for one in played.machines)
