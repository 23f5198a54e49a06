"""Errors: is the candidate worse than the stable revision, and is it surely not worse by more than the margin?

Both are mixtures of the e-processes of `binary`, each with its own guess of the candidate's rate. The stable's rate in
the guesses is learned from all it did before the block (its history before the rollout may count too: a guess may use
anything that is past). The stable has most of the traffic, so its rate is as good as known and the cost is the
candidate's alone.
"""

import numpy as np

from argosy.monitoring.binary import Floats, Number, log_e, mix

ODDS = (1.5, 2.5, 4.0, 7.0, 15.0)
RATES = (0.05, 0.25, 0.75)
HARM_WEIGHTS = np.array([0.1, 0.15, 0.3, 0.15, 0.1, 0.08, 0.08, 0.04])
"""Guesses of harm: odds of an error multiplied, or a plain rate where the stable has none to multiply."""

SAFE_FACTORS = (0.8, 1.0)
SAFE_WEIGHTS = np.array([0.85, 0.15])
"""Guesses of no harm, as factors on the stable's rate. Below 1 promotes the typical candidate sooner than 1 itself."""


def stable_rate(errors: Number, requests: Number) -> Number:
    """The stable's error rate as guessed from its past: 1 % before anything is known."""
    return (errors + 0.5) / (requests + 50.0)


def harm(logs: Number, rate: Number, n_c: Number, k_c: Number, n_s: Number, k_s: Number, tolerance: float) -> Floats:
    """One more block of evidence against "candidate's rate ≤ stable's + tolerance": ln E for every guess (last axis).

    `rate` is `stable_rate` of what came before the block. Counts have the shape of `rate`; `logs` has one axis more.
    """
    b: Floats = np.asarray(rate, float)[..., None]
    odds = b / (1 - b) * np.array(ODDS)
    worse = np.concatenate(
        [odds / (1 + odds), np.maximum(np.array(RATES) + 0 * b, b + (1 - b) * np.array(RATES) / 4)], axis=-1
    )
    a = np.minimum(worse + tolerance, 1 - (1 - tolerance - b) / 50)
    return logs + _block(n_c, k_c, n_s, k_s, a, b, tolerance)


def safe(logs: Number, rate: Number, n_c: Number, k_c: Number, n_s: Number, k_s: Number, margin: float) -> Floats:
    """One more block of evidence against "candidate's rate ≥ stable's + margin": ln E for every guess (last axis)."""
    b: Floats = np.asarray(rate, float)[..., None]
    return logs + _block(n_c, k_c, n_s, k_s, b * np.array(SAFE_FACTORS), b, margin)


def _block(n_c: Number, k_c: Number, n_s: Number, k_s: Number, a: Floats, b: Floats, delta: float) -> Floats:
    n_c, k_c, n_s, k_s = (np.asarray(value, float)[..., None] for value in (n_c, k_c, n_s, k_s))
    return log_e(n_c, k_c, n_s, k_s, a, b, delta)


def harm_evidence(logs: Number) -> Floats:
    """ln E of the mixture: at 1/α or above the candidate is worse, at level α over all looks."""
    return mix(logs, HARM_WEIGHTS)


def safe_evidence(logs: Number) -> Floats:
    """ln E of the mixture: at 1/α or above the candidate is within the margin, at level α over all looks."""
    return mix(logs, SAFE_WEIGHTS)
