"""Rows of the ledger of cost against a bill, with kills."""

import pytest

from prove.cost import Found, prove


@pytest.mark.slow
def test_rows_are_the_bill_through_kills():
    found = prove(seconds=8.0, doubles=0, seed=3)
    assert found.gap <= 0.01, "\n".join(found.lines())
    assert found.uses.keys() == {"requests", "startup", "idle"}
    assert found.keyed > 0.5


def test_what_is_missed_is_told():
    held = Found(rows=100.0, bill=100.5, booked=9.9, measured=10.0, keyed=1.0, uses={"idle": 100.0}, kills={})
    assert held.good
    assert "0.498% apart" in "\n".join(held.lines())
    bad = Found(rows=98.0, bill=100.0, booked=9.9, measured=10.0, keyed=1.0, uses={}, kills={})
    assert not bad.good
