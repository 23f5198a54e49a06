import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from argosy.monitoring.analysis import errors
from argosy.monitoring.eprocess import Floats, mixture

SHARES = st.just(0.0) | st.floats(1e-30, 1)
"""SciPy's binomial overflows at probabilities that are subnormal numbers."""


@given(st.floats(0.0005, 0.9), st.floats(0, 0.05), st.floats(0.001, 0.9), SHARES)
def test_every_guess_of_harm_is_fair(rate: float, tolerance: float, truth: float, factor: float):
    n_c, n_s = 3, 7
    k_c, k_s = np.arange(n_c + 1)[:, None], np.arange(n_s + 1)[None, :]
    logs = errors.harm(
        np.zeros((1, 1, len(errors.HARM_WEIGHTS))), rate + 0 * (k_c + k_s), n_c, k_c, n_s, k_s, tolerance
    )
    for theta in (truth * factor, min(truth + tolerance, 1)):
        chance = binom.pmf(k_c, n_c, theta) * binom.pmf(k_s, n_s, truth)
        assert ((chance[..., None] * np.exp(logs)).sum(axis=(0, 1)) <= 1 + 1e-7).all()


def test_a_healthy_candidate_is_rarely_alarming():
    """300 rollouts of 300 looks; Ville: at most 1 % in the long run."""
    rng, rollouts = np.random.default_rng(4), 300
    logs, top = np.zeros((rollouts, len(errors.HARM_WEIGHTS))), np.zeros(rollouts)
    for _ in range(300):
        n_c = rng.binomial(100, 0.05, rollouts)
        k_c, k_s = rng.binomial(n_c, 0.02), rng.binomial(100 - n_c, 0.02)
        logs = errors.harm(logs, np.full(rollouts, 0.02), n_c, k_c, 100 - n_c, k_s, 0.0)
        top = np.maximum(top, mixture(logs, errors.HARM_WEIGHTS))
    assert (top >= np.log(100)).sum() <= 8


@given(
    rate=st.floats(0.0005, 0.95),
    log=st.floats(-30, 10),
    paired=st.floats(0, 1e5),
    margin=st.floats(0.001, 0.4),
    alpha=st.floats(0.0001, 0.5),
    truth=SHARES,
    beyond=SHARES,
)
def test_the_guess_of_no_harm_is_fair_wherever_it_moves(
    rate: float, log: float, paired: float, margin: float, alpha: float, truth: float, beyond: float
):
    n_c, n_s = 3, 7
    k_c, k_s = np.arange(n_c + 1)[:, None], np.arange(n_s + 1)[None, :]
    logs = errors.safe(log, rate, paired, n_c, k_c, n_s, k_s, margin, alpha)
    theta = truth * (1 - margin)
    for candidate in (theta + margin, theta + margin + beyond * (1 - theta - margin)):
        chance = binom.pmf(k_c, n_c, min(candidate, 1)) * binom.pmf(k_s, n_s, theta)
        assert (chance * np.exp(logs - log)).sum() <= 1 + 1e-7


@pytest.mark.parametrize("stable", [0.0, 0.02, 0.3, 0.6])
@pytest.mark.parametrize("beyond", [0.0, 0.01, 0.2])
@pytest.mark.parametrize("learned", [0.005, 0.25])
def test_a_whole_course_is_fair_at_the_margin_and_past_it(stable: float, beyond: float, learned: float):
    """Three blocks, every outcome of all of them, rates that change from block to block and guesses that follow."""
    n_c, n_s, margin = 2, 3, 0.05
    outcomes = [np.array(pair) for pair in np.ndindex(n_c + 1, n_s + 1)]
    k_c, k_s = (np.array([one[arm] for one in outcomes], float) for arm in (0, 1))
    logs, chance, past_n, past_k = np.zeros(1), np.ones(1), 20.0, 20 * learned
    for block, shift in enumerate((0.0, 0.1, 0.04)):
        theta = stable + shift
        new = binom.pmf(k_c, n_c, theta + margin + beyond) * binom.pmf(k_s, n_s, theta)
        rate = np.repeat(errors.stable_rate(past_k, np.full(len(logs), past_n)), len(outcomes))
        counts = (n_c, np.tile(k_c, len(logs)), n_s, np.tile(k_s, len(logs)))
        past_k = np.repeat(past_k + 0 * logs, len(outcomes)) + counts[3]
        logs = errors.safe(np.repeat(logs, len(outcomes)), rate, block * 1.2, *counts, margin, 0.3)
        chance, past_n = (chance[:, None] * new).ravel(), past_n + n_s
    assert chance.sum() == pytest.approx(1)
    assert (chance * np.exp(logs)).sum() <= 1 + 1e-7


def proofs(errors_c: float, margin: float, looks: int, rollouts: int, *, boldness: float | None = None) -> Floats:
    """Candidate requests until the proof, at 2 % errors of the stable; `boldness` holds the guess still."""
    rng, alpha = np.random.default_rng(6), 0.05
    logs, past_k, past_n, seen = np.zeros(rollouts), np.zeros(rollouts), np.zeros(rollouts), (0, 0)
    out = np.full(rollouts, np.inf)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SHY", "BOLD", "LATE") if boldness else ():
            patch.setattr(errors, name, boldness)
        for look in range(1, looks + 1):
            daily = 1 + 0.5 * np.sin(look / 20)
            k_c, k_s = (
                rng.binomial(10, errors_c + 0.02 * (daily - 1), rollouts),
                rng.binomial(90, 0.02 * daily, rollouts),
            )
            rate = errors.stable_rate(past_k, past_n)
            logs = errors.safe(logs, rate, errors.paired(*seen), 10, k_c, 90, k_s, margin, alpha)
            past_n, past_k, seen = past_n + 90, past_k + k_s, (10 * look, 90 * look)
            out[(logs >= np.log(1 / alpha)) & ~np.isfinite(out)] = 10 * look
    return out


@pytest.mark.slow
def test_candidates_at_the_margin_are_rarely_proven_however_the_day_goes():
    """2,000 rollouts at α = 5 %: at most 100 in the long run, 130 by three standard deviations."""
    assert np.isfinite(proofs(0.04, 0.02, 300, 2000)).sum() <= 130


@pytest.mark.slow
def test_equal_candidates_are_proven_sooner_than_by_their_own_rate_as_the_guess():
    assert np.median(proofs(0.02, 0.02, 200, 2000)) < 0.95 * np.median(proofs(0.02, 0.02, 200, 2000, boldness=1.0))


def test_no_errors_prove_no_harm():
    log = np.array(0.0)
    for look in range(250):
        log = errors.safe(log, 0.0001, errors.paired(5 * look, 95 * look), 5, 0, 95, 0, 0.005, 0.01)
    assert log > np.log(100)
    assert errors.safe(log, 0.0001, errors.paired(1250, 23750), 5, 2, 95, 0, 0.005, 0.01) < np.log(100)
