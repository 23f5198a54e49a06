import pytest

from prove.affinity import SETTINGS, Setting, run


def test_each_conversation_has_all_its_turns():
    for setting in SETTINGS.values():
        order = setting.order(1)
        assert sorted(order) == sorted(list(range(24)) * 8)
        assert order == setting.order(1)
    assert SETTINGS["lockstep"].order(1)[:25] == [*range(24), 0]
    assert SETTINGS["bounded"].order(1) != SETTINGS["bounded"].order(2)


@pytest.mark.slow
def test_the_policy_computes_less_of_a_conversation_again():
    turns = run(Setting(3, 0, engines=2, conversations=4, turns=3, opening=60), 1)
    later = [each for each in turns if each.turn]
    assert len(later) == 16
    policy, in_turn = (sum(each.computed for each in later if each.policy == way) for way in (True, False))
    assert policy < in_turn
