import numpy as np
import pytest
from scipy.stats import chi2_contingency, power_divergence

from argosy.monitoring.drift.compare import statistics
from tests.monitoring.drift.tables import Table


def of(table, window, place=0, seed=0):
    found = statistics(table.where.columns[place], table.reference[place], window[place], seed)
    return {one.name: one for one in found}


@pytest.mark.parametrize("n", [1, 20, 100, 2000])
def test_p_values_are_honest_at_any_size(n):
    table = Table(np.random.default_rng(n), m=5000, normal=1, categories=0)
    p = np.array([[one.p for one in of(table, table.window(n), seed=seed).values()] for seed in range(120)])
    assert p.shape == (120, 7)
    assert ((p <= 0.1).mean(axis=0) <= 0.19).all()
    assert ((p <= 0.5).mean(axis=0) <= 0.66).all()


def test_chance_agrees_with_theory_for_large_windows():
    table = Table(np.random.default_rng(0), m=5000, normal=1)
    c = 1 / 1000 + 1 / 5000
    found = of(table, table.window(1000))
    assert found["PSI"].chance == pytest.approx(19 * c, rel=0.15)
    assert found["chi2"].chance == pytest.approx(19, rel=0.1)
    assert of(table, table.window(1000), 1)["JS"].chance == pytest.approx(np.sqrt(7 * c / 8), rel=0.1)


def test_values_are_those_of_scipy():
    table = Table(np.random.default_rng(1), categories=1)
    window = table.window(300)
    rows = np.array([table.reference[4, :8], window[4, :8]])
    found = of(table, window, 4)
    assert found["chi2"].value == pytest.approx(chi2_contingency(rows, correction=False).statistic)
    assert found["G"].value == pytest.approx(
        chi2_contingency(rows, correction=False, lambda_="log-likelihood").statistic
    )
    assert set(found) == {"PSI", "JS", "chi2", "G", "Linf"}
    assert power_divergence([1, 1]).pvalue == 1


def test_a_shift_is_seen_by_all():
    table = Table(np.random.default_rng(2))
    found = of(table, table.window(2000, shift=0.5))
    assert max(one.p for one in found.values()) <= 0.01
    assert found["W1"].value == pytest.approx(0.5, abs=0.12)
    assert found["KS"].value == pytest.approx(0.197, abs=0.04)
    assert found["KS"].e > 5


def test_without_rows_there_is_nothing_to_tell():
    table = Table(np.random.default_rng(3))
    assert of(table, np.zeros(table.reference.shape)) == {}


def test_missing_values_alone():
    table = Table(np.random.default_rng(4))
    found = of(table, table.window(50, missing=1.0))
    assert found["PSI"].p <= 0.01
    assert np.isfinite(found["W1"].value)
