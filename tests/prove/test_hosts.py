import pytest

from prove import hosts

pytestmark = pytest.mark.slow


def test_cheats_are_caught_and_honest_hosts_stay(capsys):
    assert hosts.main(["--trials", "100", "--days", "20", "--seed", "19"]) == 0
    assert "held: at least" in capsys.readouterr().out
