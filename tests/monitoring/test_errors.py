import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from argosy.monitoring import errors


@given(st.floats(0.0005, 0.9), st.floats(0, 0.05), st.floats(0.001, 0.9), st.floats(0, 1))
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
        top = np.maximum(top, errors.harm_evidence(logs))
    assert (top >= np.log(100)).sum() <= 8


def test_no_errors_prove_no_harm():
    logs = np.zeros(len(errors.SAFE_WEIGHTS))
    for _ in range(250):
        logs = errors.safe(logs, 0.0001, 5, 0, 95, 0, 0.005)
    assert errors.safe_evidence(logs) > np.log(100)
    assert errors.safe_evidence(errors.safe(logs, 0.0001, 5, 2, 95, 0, 0.005)) < np.log(100)
