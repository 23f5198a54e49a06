"""The short version of the proof of fleets."""

import pytest

from prove import fleet


@pytest.mark.slow
def test_three_hundred_devices_on_a_platform(capsys: pytest.CaptureFixture[str]) -> None:
    assert fleet.live(300, 5.0, trial=2.0), capsys.readouterr().out


@pytest.mark.slow
def test_ten_runs_of_each_kind_of_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert fleet.simulated(10, 2), capsys.readouterr().out


def test_a_run_that_goes_otherwise_is_a_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "SIZE", 300)
    good, text = fleet.one_run(fleet.Version(), 1)
    assert not good  # that version is not the one called good, so that it should have been stopped
    assert text.startswith("done in wave 3")
