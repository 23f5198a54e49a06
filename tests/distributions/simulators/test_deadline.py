import json

import numpy as np
import pytest
from click.testing import CliRunner

from argosy.capacity import deadline as grid
from argosy.capacity.deadline import DeadlineDecision
from argosy.cli.main import argosy
from argosy.spec.errors import InvalidArgument
from argosy_simulators.deadline import bound, compare, greedy, job, replay, uniform, windows
from argosy_simulators.spot import SpotTrace


@pytest.fixture(scope="module", autouse=True)
def coarse():
    """A grid that takes no time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grid, "CELLS", 24)
        grid._table.cache_clear()
        yield
        grid._table.cache_clear()


def trace(*rows: str) -> SpotTrace:
    up = np.array([[tick == "1" for tick in row] for row in rows])
    return SpotTrace(tuple(f"r{n}a" for n in range(len(rows))), 3600.0, up)


def test_a_changeover_is_paid_does_nothing_and_is_lost_with_what_it_began():
    one = trace("0110111")
    of = job(one, work=2, deadline=6, changeover=1, price=0.25)

    def spot(seen):
        return DeadlineDecision(run=0 if seen.up[0] else None, reason="")

    found = replay(one.up, of, spot)
    assert found.starts == 2
    assert found.cost == pytest.approx(0.25 * 4 / 2)
    assert found.late == 0.0


def test_uniform_progress_idles_ahead_of_the_line_and_pays_behind_it():
    one = trace("1000000000")
    of = job(one, work=2, deadline=9, changeover=0, price=0.25)
    found = replay(one.up, of, uniform(of))
    assert found.demand == 0.5
    assert found.cost == pytest.approx((0.25 + 1) / 2)
    assert found.late == 0.0


def test_greedy_waits_until_on_demand_is_the_only_way():
    one = trace("0000000000")
    of = job(one, work=4, deadline=9, changeover=1, price=0.25)
    found = replay(one.up, of, greedy(of))
    assert (found.late, found.demand, found.starts) == (0.0, 1.0, 1)


def test_the_bound_has_free_changeovers():
    one = trace("1010", "0010")
    assert bound(one.up, job(one, work=2, deadline=3, changeover=0, price=0.25)) == pytest.approx(0.25)
    assert bound(one.up, job(one, work=3, deadline=3, changeover=0, price=0.25)) == pytest.approx(0.5)


def test_no_policy_is_below_the_bound_or_late():
    up = np.random.default_rng(1).random((2, 400)) < 0.6
    one = SpotTrace(("r0a", "r1a"), 600.0, up)
    for alone in (True, False):
        found = compare(one, job(one, work=4, deadline=8, changeover=0.1, price=0.3), 3, alone=alone)
        assert found.windows == (6 if alone else 3)
        assert all(line.cost >= found.bound and line.missed == 0 for line in found.lines)


def test_what_does_not_fit_is_refused():
    one = trace("111")
    with pytest.raises(InvalidArgument, match="do not fit"):
        job(one, work=3, deadline=3, changeover=1, price=0.3)
    with pytest.raises(InvalidArgument, match="less than the deadline"):
        list(windows(one, job(one, work=3, deadline=9, changeover=1, price=0.3), 1))


def test_the_command(tmp_path):
    for zone in "ab":
        data = (np.random.default_rng(ord(zone)).random(300) < 0.7).astype(int).tolist()
        (tmp_path / f"r-1{zone}_x.json").write_text(json.dumps({"metadata": {"gap_seconds": 600}, "data": data}))
    words = ["simulate", "deadline", "--trace", str(tmp_path), "--work", "5", "--deadline", "9", "--windows", "2"]
    text = CliRunner().invoke(argosy, words)
    assert "uniform progress" in text.output, text.output
    found = json.loads(CliRunner().invoke(argosy, [*words, "--alone", "--json"]).output)
    assert found["windows"] == 4
    assert {line["policy"] for line in found["lines"]} == {"argosy", "uniform progress", "greedy"}
    assert CliRunner().invoke(argosy, [*words, "--price", "nan"]).exit_code == 2
