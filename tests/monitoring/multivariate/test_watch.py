import math

import numpy as np
import pytest

from argosy.monitoring.eprocess import calibrated
from argosy.monitoring.multivariate.measure import ComparisonState, Method, evaluate, measure
from argosy.monitoring.multivariate.shift import Shift
from argosy.monitoring.multivariate.table import Pair, Sides
from tests.monitoring.multivariate.worlds import butterfly


def one(p: float, effect: float = 0.9, subject: str = "domain classifier") -> Shift:
    return Shift(method=subject, effect=effect, low=effect - 0.1, high=1.0, p=p, margin=0.55)


def test_an_e_value_has_mean_one_and_grows_with_the_evidence():
    grid = (np.arange(2_000_000) + 0.5) / 2_000_000
    assert np.mean([math.exp(calibrated(float(p))) for p in grid[::10]]) == pytest.approx(1.0, abs=0.06)
    logs = [calibrated(p) for p in (1.0, 0.999999, 0.5, 0.05, 1e-3, 1e-9, 1e-12, 0.0)]
    assert logs == sorted(logs)
    assert math.isfinite(logs[-1])


def test_chance_alarms_no_sooner_than_the_run_length_on_average():
    """Alarms of 200 streams of 100 looks with two comparisons at a run length of 50: at most 2 each."""
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(200):
        state = ComparisonState()
        for _ in range(100):
            before = {name for name, each in state.methods.items() if each.drifted}
            verdicts, state = evaluate([one(rng.random()), one(rng.random(), subject="b")], state, 50.0)
            alarms += sum(each.drifted and each.shift.method not in before for each in verdicts)
    assert alarms / 200 <= 2.0


def test_a_move_is_found_in_few_looks_and_holds_until_it_is_over():
    rng = np.random.default_rng(1)
    state, found = ComparisonState(), 0
    for looks in range(1, 10):
        verdicts, state = evaluate([one(10 ** -rng.uniform(3, 6))], state, 2160.0)
        if verdicts[0].drifted:
            found = looks
            break
    assert 1 <= found <= 4
    assert state.drifted
    for _ in range(2 * found + 1):
        assert state.drifted
        _, state = evaluate([one(0.7, effect=0.5)], state, 2160.0)
    assert not state.drifted


def test_evidence_without_a_material_effect_is_no_drift():
    verdicts, _ = evaluate([one(1e-12, effect=0.56)], ComparisonState(), 100.0)
    assert not verdicts[0].drifted
    assert verdicts[0].log_e > math.log(100.0)


def test_a_comparison_that_could_not_be_made_stays_as_it_was():
    state = ComparisonState(methods={"a": Method(evidence=3.0, sums=3.0, looks=2)})
    _, after = evaluate([one(0.5)], state, 2160.0)
    assert after.methods["a"] == state.methods["a"]
    verdicts, after = evaluate([], ComparisonState(), 2160.0)
    assert (verdicts, after) == ((), ComparisonState())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_whole_rows_keep_the_budget_against_a_sample_of_all_that_came_before():
    """Two streams of 200 looks: at a run length of 50, four false alarms in each are within the budget."""
    alarms = 0
    for seed in range(2):
        rng = np.random.default_rng(seed)
        pool, draws, state = np.empty((0, 3)), np.empty(0), ComparisonState()
        for at in range(200):
            window = butterfly(rng, 100)
            if len(pool):
                before = {name for name, each in state.methods.items() if each.drifted}
                compared = measure(Sides(Pair(("a", "b", "c"), pool, window), {}, {}, None), seed=at)
                verdicts, state = evaluate(compared, state, 50.0)
                alarms += any(each.drifted and each.shift.method not in before for each in verdicts)
            pool, draws = np.concatenate([pool, window]), np.concatenate([draws, rng.random(100)])
            kept = np.argsort(draws)[:2000]
            pool, draws = pool[kept], draws[kept]
    assert alarms <= 8
