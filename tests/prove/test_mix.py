import pytest

from prove import gpus, independence, mix

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not gpus.DATA.is_dir(), reason=f"prices and profiles are not at {gpus.DATA}"),
]


def test_a_mix_costs_no_more_than_by_melanges_rule(capsys):
    pytest.importorskip("highspy")
    assert mix.main(["--rates", "1", "4", "--seconds", "60"]) == 0
    assert "held: " in capsys.readouterr().out


def test_most_gpus_lie_outside_the_hyperscalers(capsys):
    pytest.importorskip("highspy")
    assert independence.main(["--scale", "1", "--seconds", "60"]) == 0
    assert "held: " in capsys.readouterr().out
