import numpy as np
import pytest

from argosy.supply.hosts import Score
from argosy_simulators.hosts import CHEATS, CLAIM, Host, catch, honest, live, play


@pytest.mark.parametrize("cheat", sorted(CHEATS))
def test_each_way_to_cheat_is_caught(cheat):
    assert catch(cheat, 30, [Score()], 1).caught >= 0.9


def test_who_remembers_is_not_caught_by_what_was_asked_before():
    assert catch("replayed answers", 30, [Score()], 1, fresh=0.0).caught == 0.0


def test_an_honest_host_stays_at_few_canaries():
    found = live(3, 1)
    assert found.evicted == 0
    assert 0.004 < found.overhead < 0.01


def test_a_lesser_machine_is_refused_before_it_gets_any_traffic():
    random = np.random.default_rng(0)
    host = Host(slowdown=[1.0], measured=type(CLAIM)())
    assert play(host, random).minutes == 0
    assert play(honest(random, 10), random).minutes is None
