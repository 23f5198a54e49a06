import pytest

from prove import packing


@pytest.mark.slow
def test_less_stays_unallocated_than_under_fgd(capsys):
    pytest.importorskip("highspy")
    assert packing.main(["--nodes", "60", "--seeds", "4"]) == 0
    assert "held: -" in capsys.readouterr().out
