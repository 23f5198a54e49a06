import numpy as np
import pytest
from scipy.stats import binom

from prove import baselines, guard, streams
from prove.streams import Scenario


def test_gross_errors_are_caught_within_seconds():
    out = streams.harm(Scenario("20 % errors", errors=0.2), 20, 60, 1)
    assert np.median(out.seconds) <= 10


def test_healthy_rollouts_are_left_alone():
    assert np.isfinite(streams.harm(Scenario("healthy"), 100, 120, 2).seconds).sum() <= 4


def test_a_proof_needs_the_margin():
    assert np.isfinite(streams.safe(Scenario("healthy"), 50, 300, 3, margin=0.02).seconds).mean() > 0.9
    assert np.isfinite(streams.safe(Scenario("bad", errors=0.03), 50, 300, 3, margin=0.02).seconds).mean() < 0.1


def test_the_simulated_cells_hold_all_mass():
    process = streams.Harm(np.random.default_rng(1), Scenario("x", factor=5, of=0.05), 2)
    assert [cells.sum() for cells in process.cells] == pytest.approx([1, 1])
    assert all((cells >= 0).all() for cells in process.cells)


@pytest.mark.parametrize("rule", guard.BASELINES)
def test_baselines_stop_what_is_gross(rule):
    assert np.isfinite(rule(Scenario("20 % errors", errors=0.2), 10, 4)[0]).all()


def test_baselines_follow_their_documents():
    hit, served = baselines.argo(Scenario("20 % errors", errors=0.2), 1, 5)
    assert (hit[0], served[0]) == (1200, 36_000)
    hit, served = baselines.flagger(Scenario("20 % errors", errors=0.2), 1, 5)
    assert (hit[0], served[0]) == (300, 1500)


def test_the_bound_is_the_first_size_that_suffices():
    n = guard.fewest()

    def power(size: int) -> float:
        critical = max(k for k in range(size) if k == 0 or binom.cdf(k, size, 0.01) <= 0.01)
        return float(binom.cdf(critical, size, 0.005))

    assert power(n) >= 0.5 > power(n - 10)


def test_a_missed_target_is_marked():
    rows = [
        guard.Row("a", "≤ 1", "2", ("3", "4", "5"), good=False),
        guard.Row("b", "≤ 1", "0", ("", "", ""), good=True),
    ]
    text = guard.table(rows, 10, 1.0)
    assert "| a | ≤ 1 (missed) | 2 | 3 | 4 | 5 |" in text
    assert "| b | ≤ 1 | 0 |" in text


def test_the_figures_go_between_the_markers(tmp_path, monkeypatch):
    document = tmp_path / "rollouts.md"
    document.write_text(f"before\n{guard.BEGIN}\nold\n{guard.END}\nafter\n")
    monkeypatch.setattr(guard, "DOCUMENT", document)
    guard.write("new")
    assert document.read_text() == f"before\n{guard.BEGIN}\nnew\n{guard.END}\nafter\n"
