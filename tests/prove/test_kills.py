"""kill -9 of the controller at random moments under load, a few times; `make prove` does it a thousand times."""

import pytest

from prove import kills
from prove.kills import Counts


@pytest.mark.slow
async def test_ten_kills_lose_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kills, "SETTLED", 60.0)
    counts = await kills.prove(rounds=10, seed=1)
    assert counts.good, (counts.line(0), counts.failures[:5])
    assert (counts.rounds, counts.lost) == (10, 0)
    assert counts.acknowledged > 0
    assert counts.requests > 100


def test_what_must_not_happen_is_told():
    assert Counts().good
    for bad in (Counts(lost=1), Counts(orphans=1), Counts(unsettled=1), Counts(failures=["500"])):
        assert not bad.good
    assert "1 failed" in Counts(failures=["500"]).line(1.0)
