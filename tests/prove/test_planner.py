import pytest

from prove import planner, planning

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not planning.DATA.is_dir(), reason=f"prices and round trips are not at {planning.DATA}"),
]


def test_a_plan_is_near_the_best(capsys):
    pytest.importorskip("highspy", reason="the extra `place` is not installed")
    assert planner.main(["--only", "near", "--seeds", "2", "--cpu"]) == 0
    assert "held: gaps" in capsys.readouterr().out
