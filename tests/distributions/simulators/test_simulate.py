from pathlib import Path

import numpy as np
import pytest

from argosy.capacity.staffing import late_share
from argosy_simulators.baselines.hpa import HPA
from argosy_simulators.baselines.kpa import KPA
from argosy_simulators.baselines.ray import RayServe
from argosy_simulators.baselines.static import Static
from argosy_simulators.score import quantile, score
from argosy_simulators.simulate import Setup, simulate
from argosy_simulators.trace import make, read

CONV = Path(__file__).resolve().parents[4] / "shared/data/azure_llm/AzureLLMInferenceTrace_2023_conv.csv"


def fixed(count: int, **setup: float) -> tuple[Static, Setup]:
    return Static(count), Setup(initial=count, cold_start=10, **setup)  # pyright: ignore


def test_a_trace_by_hand_waits_in_order_of_arrival() -> None:
    trace = make("hand", np.array([0.0, 1.0, 2.0, 9.0]), np.array([4.0, 2.0, 1.0, 1.0]))
    run = simulate(trace, *fixed(1, concurrency=1))
    assert run.waits.tolist() == [0.0, 3.0, 4.0, 0.0]
    figures = score(trace, run)
    assert figures.late == 0.5
    assert (figures.p50_wait, figures.p99_wait) == (0.0, 4.0)
    assert figures.replica_hours == pytest.approx(9 / 3600)


def test_a_cold_start_is_waited_for_and_paid() -> None:
    trace = make("cold", np.array([0.0, 100.0]), np.array([1.0, 1.0]))
    run = simulate(trace, Static(1), Setup(initial=0, cold_start=30))
    assert run.waits.tolist() == [30.0, 0.0]
    assert run.replicas[0].asked == 0
    assert score(trace, run).replica_hours == pytest.approx(100 / 3600)


def test_what_drains_finishes_and_is_paid_until_then() -> None:
    trace = make("drain", np.array([1.0, 1.5, 100.0]), np.array([50.0, 40.0, 1.0]))
    run = simulate(trace, Static(1, interval=10), Setup(initial=2, concurrency=1))
    ended = sorted(one.ended for one in run.replicas)
    assert ended[0] == 0.0  # told to stop at the first look, with nothing to do
    run = simulate(trace, Static(1, interval=10), Setup(initial=2, concurrency=1, on_at=10))
    assert sorted(one.ended for one in run.replicas)[0] in (40.5, 50.0)
    assert run.waits.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(("slots", "load"), [(1, 0.7), (4, 3.2)])
def test_deterministic_services_wait_as_the_formulas_say(slots: int, load: float) -> None:
    random = np.random.default_rng(1)
    arrivals = np.cumsum(random.exponential(1 / load, 60_000))
    run = simulate(make("M/D/c", arrivals, np.ones(60_000)), Static(1), Setup(initial=1, concurrency=slots))
    mean = float(run.waits.mean())
    if slots == 1:  # Pollaczek and Khinchine: rho / (2 · (1 - rho))
        assert mean == pytest.approx(load / (2 * (1 - load)), rel=0.05)
    else:  # M/M/4 waits 0.596 / (4 - 3.2) = 0.745 at this load; M/D/4 a little over half of that (Cosmetatos)
        assert 0.35 < mean < 0.45
    in_system = np.mean([one.in_flight + one.queue for one in run.samples[5:]])
    assert in_system == pytest.approx(load * (mean + 1), rel=0.1)  # Little


def test_exponential_services_are_late_as_often_as_staffing_says() -> None:
    late: list[float] = []
    for seed in (1, 2, 3):
        random = np.random.default_rng(seed)
        arrivals = np.cumsum(random.exponential(1 / 20, 80_000))
        trace = make("M/M/48", arrivals, random.exponential(2.0, 80_000))
        run = simulate(trace, Static(6), Setup(initial=6, concurrency=8))
        late.append(float(np.mean(run.waits > 0.3)))
    assert np.mean(late) == pytest.approx(late_share(40, 48, 2.0, 0.3), rel=0.3)


def test_quantiles_are_order_statistics() -> None:
    waits = np.array([3.0, 1.0, np.inf, 2.0])
    assert (quantile(waits, 0.5), quantile(waits, 0.99)) == (2.0, np.inf)
    assert quantile(waits[:0], 0.5) == 0.0


@pytest.mark.skipif(not CONV.is_file(), reason="the Azure traces are not in ../shared/data")
def test_the_baselines_take_what_was_measured_for_the_notes() -> None:
    trace = read(CONV)
    for policy, hours, late in ((KPA(), 13.9, 0.069), (HPA(), 23.8, 0.064), (RayServe(), 30.9, 0.070)):
        figures = score(trace, simulate(trace, policy))
        assert figures.replica_hours == pytest.approx(hours, rel=0.02)
        assert figures.late == pytest.approx(late, abs=0.002)
