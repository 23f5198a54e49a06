"""The proof of launches counts nothing that must not be, and sees it where it is."""

import pytest

from argosy.supply.sweep import Finding
from prove import launches


@pytest.mark.slow
def test_controllers_that_are_killed_leave_no_orphan_and_no_double():
    counts = launches.prove(kills=40, seed=1)
    assert counts.good, counts.line(0.0)
    assert counts.kills.keys() == {*launches.MOMENTS}
    assert counts.machines


@pytest.mark.slow
def test_without_its_sweep_there_are_doubles(monkeypatch):
    monkeypatch.setattr(Finding, "ends", False)
    monkeypatch.setattr(launches, "FAULTS", launches.Faults(twice=1.0))
    monkeypatch.setattr(launches, "SETTLED", 0.5)
    assert launches.prove(kills=4, seed=1).doubles
