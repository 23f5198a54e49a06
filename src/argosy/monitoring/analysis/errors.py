"""Errors: is the candidate worse than the stable revision, and is it surely not worse by more than the margin?

Both are products of `eprocess.log_e`, a block at a time. The stable's rate in the guesses is learned from all it did
before the block, before the rollout too. The stable has most of the traffic, so its rate is as good as known.

Harm is a mixture of constant guesses. No harm has one guess that moves, as what is expected is known (the stable's own
rate), and the question is when the proof is there.
Guessing that rate throughout makes ln E grow fastest on average, but the typical candidate then waits longer than it
must. What gets most candidates to a goal by a deadline bets by how far the goal is and how much time is left
(Kulldorff 1993, "Optimal control of favorable games with a time limit"; Browne 1999, "Reaching goals by a deadline:
digital options and continuous-time active portfolio management"). Here: guess the rate at which the proof would be
complete just in time. On the scale asin √rate, on which the deviation of a share is the same everywhere, n requests
whose rate is d from the null's bring about 2·n·d² of ln E, so the guess lies √(missing / left) times the stable's
distance from the null: bolder than the stable's rate for who is behind, shyer for who is ahead and has little to win.

It stays an e-process whatever the deadline, the bounds below and α are: the guess depends on ln E, the counts and the
stable's rate before the block alone, and lies on the harmless side of the null (boldness > 0), which is all that
`eprocess` asks of a guess. Given the past, the block's E then has mean ≤ 1 at every point of the null, rates that
change from block to block included, so the product is a test supermartingale and P(ever ≥ 1/α) ≤ α (Ville).
"""

import math

import numpy as np

from argosy.monitoring.eprocess import Floats, Number, log_e

ODDS = (1.5, 2.5, 4.0, 7.0, 15.0)
RATES = (0.05, 0.25, 0.75)
HARM_WEIGHTS = np.array([0.1, 0.15, 0.3, 0.15, 0.1, 0.08, 0.08, 0.04])
"""Guesses of harm: odds of an error multiplied, or a plain rate where the stable has none to multiply."""

DEADLINE, LAST = 0.8, 0.02
"""When the proof of no harm is meant to be there, as a share of the requests that the stable's rate as the guess needs
on average: most of equal candidates get there. The time left is never taken to be less than `LAST`."""
SHY, BOLD, LATE = 0.75, 1.3, 1.1
"""Bounds of the guess's distance from the null, relative to the stable's: at least, at most, at most past the deadline.
They keep what is lost by a guess far off small."""


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
    n_c, k_c, n_s, k_s = (np.asarray(value, float)[..., None] for value in (n_c, k_c, n_s, k_s))
    return logs + log_e(n_c, k_c, n_s, k_s, a, b, tolerance)


def safe(
    logs: Number,
    rate: Number,
    paired: Number,
    n_c: Number,
    k_c: Number,
    n_s: Number,
    k_s: Number,
    margin: float,
    alpha: float,
) -> Floats:
    """One more block of evidence against "candidate's rate ≥ stable's + margin": ln E.

    `logs`, `rate` (`stable_rate`) and `paired` are of what came before the block; all have the shape of the counts. The
    goal is ln E = ln 1/α.
    """
    b, goal = np.asarray(rate, float), math.log(1 / alpha)
    own, null = _angle(b), _angle(np.minimum(b + margin, 1.0))
    gap = null - own
    left = DEADLINE - 2 * gap**2 * np.asarray(paired, float) / goal
    missing = np.maximum(1 - np.asarray(logs, float) / goal, 0.0)
    boldness = np.clip(np.sqrt(missing / np.maximum(left, LAST)), SHY, np.where(left > 0, BOLD, LATE))
    a = np.sin(np.maximum(null - gap * boldness, own / 2)) ** 2
    return logs + log_e(n_c, k_c, n_s, k_s, a, b, margin)


def paired(n_c: Number, n_s: Number) -> Floats:
    """The candidate's requests less what the stable's uncertainty takes from them: n_c·n_s / (n_c + n_s)."""
    return np.asarray(n_c * n_s / np.maximum(n_c + n_s, 1))


def _angle(rate: Floats) -> Floats:
    return np.arcsin(np.sqrt(rate))
