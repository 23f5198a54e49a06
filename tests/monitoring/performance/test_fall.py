"""Evidence of a fall: false alarms as rarely as stated, falls found, and an end when it is over."""

import numpy as np
import pytest

from argosy.monitoring.eprocess import Fall
from argosy.monitoring.performance.estimate import Bar, within
from argosy.store.findings import Verdict


def run(values, run_length=2160.0):
    """How many windows until an alarm."""
    state = Fall()
    for place, value in enumerate(values):
        state = state.after(float(value), 1.0, run_length)
        if state.fallen:
            return place + 1
    return len(values) + 1


@pytest.mark.slow
def test_false_alarms_are_as_rare_as_stated_even_at_the_margin():
    rng = np.random.default_rng(0)
    lengths = [run(rng.normal(0, 1, 2000), 200) for _ in range(60)]
    assert np.mean(lengths) > 200
    assert min(run(rng.normal(-2, 1, 2000), 200) for _ in range(20)) > 2000


@pytest.mark.parametrize(("shift", "windows"), [(8.0, 1), (4.0, 3), (2.0, 8), (0.7, 60)])
def test_falls_are_found(shift, windows):
    rng = np.random.default_rng(1)
    assert np.median([run(rng.normal(shift, 1, 300)) for _ in range(30)]) <= windows


def test_it_stays_until_a_window_is_not_below_the_bound():
    state = Fall().after(10.0, 1.0)
    assert state.fallen
    assert state.after(0.01, 1.0).fallen
    assert state.after(-0.01, 1.0) == Fall()
    assert Fall().after(1e9, 0.0).fallen
    assert not Fall().after(-1e9, 0.0).fallen


def test_a_bar_knows_which_way_is_worse():
    reference = within(0.9, 0.01)
    bar = Bar(metric="accuracy", reference=reference, margin=0.05)
    assert bar.bound == pytest.approx(0.85)
    verdicts = [bar.verdict(0.86, False), bar.verdict(0.84, False), bar.verdict(0.84, True)]
    assert verdicts == [Verdict.EXPECTED, Verdict.BELOW, Verdict.FELL]
    assert bar.verdict(0.86, True) == Verdict.EXPECTED
    error = Bar(metric="mae", reference=within(2.0, 0.01, bounds=(0, 10)), margin=0.05)
    assert (error.verdict(2.09, False), error.verdict(2.11, False)) == (Verdict.EXPECTED, Verdict.BELOW)


def test_what_is_not_known_of_reference_and_calibration_is_no_evidence():
    bar = Bar(metric="accuracy", reference=within(0.9, 0.03), margin=0.05)
    unsure, sure = within(0.76, 0.005, 0.03), within(0.76, 0.005)
    assert not bar.after(unsure, Fall()).fallen
    assert bar.after(sure, Fall()).fallen
