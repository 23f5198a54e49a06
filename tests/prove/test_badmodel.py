"""Short runs of `python -m prove.badmodel`."""

import pytest

from prove import badmodel


@pytest.mark.parametrize("kind", badmodel.KINDS)
def test_a_bad_one_is_rolled_back_in_every_simulated_trial(kind):
    counts = badmodel.Trials(kind=kind)
    for number in range(20):
        badmodel.simulated(kind, number, counts)
    assert counts.caught == counts.trials == 20


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*badmodel.KINDS, "good"])
def test_a_real_device_rolls_a_bad_one_back_without_a_gap(kind, tmp_path, capsys):
    assert badmodel.real(kind, tmp_path / "device", badmodel.packages(tmp_path / "packages")), capsys.readouterr().out
