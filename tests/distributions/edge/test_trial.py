"""The policy of trials: what is worse is found, what is as good is not blamed, and only what is shown is committed."""

import math
import random

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy_edge import trial
from argosy_edge.trial import Tally, after, agrees, cell, judge
from argosy_edge.wire import Arm, Quality, Trial

TRIAL = Trial(rows=100, seconds=60.0)


def arm(requests: int, errors: int = 0, place: int = 5) -> Arm:
    return Arm(requests=requests, errors=errors, latency=tuple([0] * place + [requests - errors]))


def quality(rows: int, agreed: int | None = None, errors: int = 0, place: int = 5) -> Quality:
    agreed = rows if agreed is None else agreed
    return Quality(stable=arm(rows), candidate=arm(rows, errors, place), compared=rows, agreed=agreed)


def looked(*blocks: Quality, seconds: float = 1.0, rules: Trial = TRIAL, alone: bool = False) -> Tally:
    tally = Tally()
    for block in blocks:
        tally = after(tally, block, seconds, rules, alone)
    return tally


def test_a_good_one_is_committed_after_its_rows_and_seconds():
    assert judge(looked(quality(200)), TRIAL).verdict == "on"
    assert judge(looked(*[quality(1)] * 61), TRIAL).verdict == "on"
    verdict = judge(looked(*[quality(2)] * 61), TRIAL)
    assert verdict.verdict == "commit"
    assert verdict.reason == "122 answers in 61 s, 0 errors, 122 of 122 agree with the slot before"


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (quality(10, 1), "agreement: 10.0% of 20 answers are those of the slot before, below 90.0%"),
        (quality(10, 10, errors=5), "errors: 10 of 20 requests failed, the slot before 0 of 20"),
        (quality(20, 20, place=9), "latency: half of the answers within 31.2 ms, the slot before half of the answers"),
    ],
    ids=["agreement", "errors", "latency"],
)
def test_a_bad_one_is_rolled_back_with_its_reason(bad, words):
    verdict = judge(looked(bad, bad), TRIAL)
    assert verdict.verdict == "rollback"
    assert words in verdict.reason


@pytest.mark.parametrize(
    "poor", [quality(100, 89), quality(100, errors=2), quality(100, place=7)], ids=["agreement", "errors", "latency"]
)
def test_what_is_short_of_its_bound_is_not_committed_even_without_proof(poor):
    tally = looked(poor, seconds=100.0)
    assert judge(tally, TRIAL).verdict == "on"
    late = looked(poor, seconds=TRIAL.longest)
    assert judge(late, TRIAL).verdict == "rollback"


def test_a_trial_without_enough_rows_ends_as_it_says():
    few = looked(quality(3), seconds=TRIAL.longest)
    assert judge(few, TRIAL).verdict == "commit"
    assert judge(few, msgspec.structs.replace(TRIAL, then="rollback")).verdict == "rollback"


def test_without_a_slot_before_health_counts_alone():
    quiet = looked(Quality(), seconds=trial.ALONE, alone=True)
    assert judge(quiet, TRIAL, alone=True).verdict == "commit"
    failing = looked(Quality(candidate=arm(10, 10)), Quality(candidate=arm(10, 10)), alone=True)
    assert judge(failing, TRIAL, alone=True).verdict == "rollback"


def test_without_an_agreement_other_answers_are_no_harm():
    rules = msgspec.structs.replace(TRIAL, agreement=None)
    assert judge(looked(quality(200, 0), seconds=60.0, rules=rules), rules).verdict == "commit"


def test_candidates_at_their_bounds_are_rarely_blamed():
    chance, blamed = random.Random(1), 0
    for _ in range(100):
        tally = Tally()
        for _ in range(60):
            agreed = sum(chance.random() < 0.9 for _ in range(20))
            errors, before = (sum(chance.random() < rate for _ in range(20)) for rate in (0.03, 0.02))
            slow = sum(chance.random() < 0.5 for _ in range(20 - errors))
            mine = Arm(requests=20, errors=errors, latency=(0, 0, 0, 0, 20 - errors - slow, slow))
            theirs = Arm(requests=20, errors=before, latency=(0, 0, 0, 20 - before))
            block = Quality(stable=theirs, candidate=mine, compared=20, agreed=agreed)
            tally = after(tally, block, 1.0, TRIAL)
            if judge(tally, TRIAL).verdict == "rollback":
                blamed += 1
                break
    assert blamed <= 5


@given(st.floats(1e-7, 1e4))
def test_a_cell_holds_its_latency(seconds):
    place = cell(seconds)
    assert 0 <= place < trial.CELLS
    if 0 < place < trial.CELLS - 1:
        assert 2.0 ** (place + trial.FIRST - 1) < seconds <= 2.0 ** (place + trial.FIRST)


FLOATS = np.array([[0.1, 0.7, 0.2]], np.float32)


@pytest.mark.parametrize(
    ("stable", "candidate", "same"),
    [
        ({"p": FLOATS}, {"p": np.array([[0.3, 0.4, 0.3]], np.float32)}, True),
        ({"p": FLOATS}, {"p": np.array([[0.5, 0.4, 0.1]], np.float32)}, False),
        ({"p": FLOATS}, {"p": FLOATS * math.nan}, False),
        ({"p": FLOATS}, {"q": FLOATS}, False),
        ({"p": FLOATS}, {"p": FLOATS[:, :2]}, False),
        ({"p": FLOATS}, {"p": np.array([[0, 1, 0]])}, False),
        ({"y": np.array([100.0])}, {"y": np.array([104.0])}, True),
        ({"y": np.array([100.0])}, {"y": np.array([106.0])}, False),
        ({"y": np.array([math.nan])}, {"y": np.array([math.nan])}, True),
        (
            {"label": np.array([b"cat"], object), "p": FLOATS},
            {"label": np.array([b"cat"], object), "p": 1 - FLOATS},
            True,
        ),
        ({"label": np.array([1]), "p": FLOATS}, {"label": np.array([2]), "p": FLOATS}, False),
        ({"label": np.array([1]), "p": FLOATS}, {"label": np.array([1]), "p": FLOATS * math.nan}, False),
        ({"y": np.zeros((0, 3))}, {"y": np.zeros((0, 3))}, True),
    ],
    ids=[
        *("same-class", "other-class", "nan", "other-name", "other-shape", "other-kind", "near", "far", "both-nan"),
        *("same-label", "other-label", "label-nan", "no-rows"),
    ],
)
def test_answers_agree_in_their_labels_or_within_the_tolerance(stable, candidate, same):
    assert agrees(stable, candidate, 0.05) is same
