"""Rollouts under load with the controller killed in each; `python -m prove.rollouts --kills` goes through them all."""

from collections.abc import Callable

import pytest

from argosy.spec.settings import Home
from prove.rollouts import Proof, fill
from tests.platform.up import Up, home, start

__all__ = ["home", "start"]


@pytest.mark.slow
async def test_rollouts_end_well_and_no_request_fails_though_the_controller_is_killed(
    home: Home, start: Callable[..., Up]
):
    fill(home)
    proof = Proof(start().ready(), kills=True, seed=3)
    try:
        load = await proof.run(2)
    finally:
        proof.platform.kill()
    assert proof.wrong == []
    assert (proof.killed, load.good > 100) == (2, True)
