import math

import pytest

from argosy.supply.hosts import RULES, Figures, Score, admit, answered, share, timed

CLAIM = Figures(compute=1e12, memory=64e9, rtt=0.02)


def test_a_host_that_has_what_it_claims_is_admitted_and_what_is_not_claimed_is_not_asked_for():
    found = Figures(compute=0.95e12, memory=64e9, rtt=0.021)
    assert admit(CLAIM, found) == ()


@pytest.mark.parametrize(
    ("measured", "wrong", "told"),
    [
        (Figures(compute=0.5e12, memory=64e9, rtt=0.02), "", "compute is 5e+11, 1e+12 claimed: 50% of it"),
        (Figures(compute=1e12, memory=32e9, rtt=0.02), "", "memory is 3.2e+10"),
        (Figures(compute=1e12, memory=64e9, rtt=0.05), "", "rtt is 50.0 ms, 20.0 ms claimed"),
        (Figures(compute=math.nan, memory=64e9, rtt=0.02), "", "compute is not a number"),
        (Figures(compute=1e12, memory=64e9, rtt=0.02), "memory", "the answer to 'memory' is wrong"),
    ],
    ids=["compute", "memory", "rtt", "nan", "wrong"],
)
def test_a_host_that_falls_short_is_refused_with_the_figure(measured, wrong, told):
    (reason,) = admit(CLAIM, measured, wrong=wrong)
    assert reason.startswith(told)


def test_bad_minutes_that_pass_evict_nobody_and_those_that_stay_do():
    score = Score()
    for _ in range(5):
        for ratio in (2.0, 2.0, *[1.0] * 60):
            score = timed(score, ratio)
    assert not score.evicted
    for _ in range(30):
        score = timed(score, 2.0)
    assert "windows were slow" in score.evicted


def test_a_window_that_is_not_a_number_is_slow():
    assert timed(Score(), math.nan).slow == 1


def test_a_canary_that_disagrees_brings_more_of_them_and_those_that_agree_fewer_again():
    score = answered(Score(), False)
    assert share(score) == RULES.alert
    for _ in range(100):
        score = answered(score, True)
    assert share(score) == RULES.calm
    assert (score.canaries, score.disagreed) == (101, 1)


def test_what_is_evicted_stays_so():
    score = Score()
    while not score.evicted:
        score = answered(score, False)
    assert score.canaries <= 6
    assert answered(score, True) == score == timed(score, 1.0)


def test_evidence_has_a_mean_of_at_most_one_for_an_honest_host():
    """One step from nothing, by both outcomes with the chances that are allowed."""
    for chance, after in (
        (RULES.answers, lambda bad: answered(Score(), not bad)),
        (RULES.slow, lambda bad: timed(Score(), 2.0 if bad else 1.0)),
        (RULES.still, lambda bad: timed(Score(was_slow=True), 2.0 if bad else 1.0)),
    ):
        mean = sum(share * math.exp(after(bad).log_e) for bad, share in ((True, chance), (False, 1 - chance)))
        assert mean <= 1 + 1e-9
