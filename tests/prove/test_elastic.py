import numpy as np
import pytest

from argosy_simulators.trace import Trace, read
from prove import autoscale, elastic

STEADY = Trace("steady", np.arange(0.0, 1800.0, 0.5), np.ones(3600))


def test_each_region_has_its_spike_and_nothing_is_lost() -> None:
    parts = elastic.split(STEADY)
    assert sum(len(one.arrivals) for one in parts) == len(STEADY.arrivals)
    turns = [np.histogram(one.arrivals, bins=6, range=(0, 1800))[0] / 600 for one in parts]
    assert [int(np.argmax(each)) for each in np.transpose(turns)] == [0, 1, 2, 0, 1, 2]
    assert np.max(turns) == pytest.approx(elastic.SPIKE, abs=0.08)


def test_a_pool_tells_whose_requests_are_whose() -> None:
    both, theirs = elastic.merged(STEADY, Trace("burst", np.array([100.25, 100.3]), np.array([3.0, 4.0])))
    assert both.services[theirs].tolist() == [3.0, 4.0]
    assert np.all(np.diff(both.arrivals) >= 0)
    assert len(both.arrivals) == 3602


@pytest.mark.slow
@pytest.mark.skipif(not autoscale.DATA.is_dir(), reason=f"the traces are not at {autoscale.DATA}")
def test_the_code_trace_is_served_in_a_pool() -> None:
    conv, code = (read(autoscale.DATA / f"AzureLLMInferenceTrace_2023_{name}.csv") for name in ("conv", "code"))
    (held, said), *_ = elastic.verdicts([], [elastic.pooled(conv, code)])
    assert held, said
