"""Readers of foreign bytes take what honest senders write, and refuse all else by errors of the table."""

import pytest

from attack.fuzz import kept
from attack.targets import TARGETS, attack, mutations

NAMES = sorted(TARGETS)


@pytest.mark.parametrize("name", NAMES)
def test_seeds_are_taken_and_their_changes_read_or_refused(name: str):
    target = TARGETS[name]
    for seed in target.seeds():
        assert attack(target, seed), f"{name} refuses what an honest sender writes: {seed[:80]!r}"
        for data in mutations(seed):
            attack(target, data)


@pytest.mark.parametrize("name", NAMES)
def test_what_was_once_a_finding_is_read_or_refused(name: str):
    for data in kept(name):
        attack(TARGETS[name], data)
