"""Bad versions under load on the real platform, each rolled back by itself; `python -m prove.bad` prints a table."""

from collections.abc import Callable

import pytest

from argosy.spec.settings import Home
from prove import bad
from tests.platform.up import Up, home, start

__all__ = ["home", "start"]
SHORT = {
    "guard": {"latency_tolerance": 100.0, "latency_margin": 200.0},
    "rollout": {"strategy": "canary", "steps": [{"weight": 40, "requests": 200}, {"weight": 50, "requests": 500}]},
}
"""Beside all the other tests, a replica that has just started must not count as a slower model."""
QUICK = (bad.KINDS[0], bad.leaking(2))


@pytest.mark.slow
async def test_bad_versions_are_rolled_back_by_themselves(home: Home, start: Callable[..., Up]):
    bad.fill(home, QUICK)
    found = await bad.prove(start().ready(), QUICK, warm_up=50, **SHORT)
    assert [(outcome.phase, outcome.bad.says in outcome.reason) for outcome in found] == [("rolled-back", True)] * 2
    assert (found[0].answered, found[0].failed, found[-1].failed) == (0, 0, 0), found


def test_what_is_wrong_is_told():
    kind = bad.KINDS[0]
    good = bad.Outcome(bad=kind, phase="rolled-back", back=3.0, last=2.0, answered=5, failed=0, reason=kind.says)
    assert bad.wrong(good) == []
    assert "5" in bad.row(good)
    for worse in ({"phase": "done"}, {"reason": "latency"}, {"last": 5.0}):
        assert bad.wrong(bad.msgspec.structs.replace(good, **worse))
