import pytest

from prove import spot

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not spot.DATA.is_dir(), reason=f"the spot traces are not at {spot.DATA}"),
]


def test_the_hedge_holds_its_floor(capsys):
    assert spot.main([]) == 0
    assert "held: 0." in capsys.readouterr().out
