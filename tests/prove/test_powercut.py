"""A short run of `python -m prove.powercut`."""

import pytest

from prove import powercut

pytestmark = pytest.mark.slow


def test_a_power_cut_leaves_a_verified_model(capsys):
    if why := powercut.refused():
        pytest.skip(why)
    assert powercut.proved(100, seed=2), capsys.readouterr().out
