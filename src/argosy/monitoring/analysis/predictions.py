"""Predictions: does the candidate answer with another distribution than the stable revision, by more than a tolerance?

For category counts c and s of a block, P the stable's past shares and Q a guess of the candidate's, ρ its share of the
block, g = Q/P:

    ln E = Σ c·ln g − Σ (c + s)·ln(1 + ρ(g − 1)) − n_c·τ·(max f − min f),   f = g / (1 + ρ(g − 1))

Without the last term it is the two-sample e-value of Turner, Ly, Grünwald (2024). Its mean under the null is bounded by
exp(n_c·Σ(P_c − P_s)·f), and Σ(P_c − P_s)·f ≤ τ·(max f − min f) wherever the total variation distance is ≤ τ: with the
term, E is an e-value for "the distributions differ by at most τ". A new version may answer somewhat otherwise; that is
why it is there. Guesses are P moved by ω towards what the candidate did in its past (Dirichlet-smoothed), so that they
cost nothing while there is no difference. `WEIGHTS` are those of the guesses.
"""

import numpy as np

from argosy.monitoring.eprocess import Floats, Number

STEPS = (0.1, 0.3, 1.0)
SMOOTHING = 20.0
WEIGHTS = np.array([0.3, 0.4, 0.3])


def guesses(candidate: Number, stable: Number) -> tuple[Floats, Floats]:
    """(P, Q) from past counts of both arms (…, categories): P has that shape, Q one axis of guesses before the last."""
    stable = np.asarray(stable, float) + 0.5
    p = stable / stable.sum(-1, keepdims=True)
    learned = np.asarray(candidate, float) + SMOOTHING * p
    learned /= learned.sum(-1, keepdims=True)
    w = np.array(STEPS)[:, None]
    return p, (1 - w) * p[..., None, :] + w * learned[..., None, :]


def differ(logs: Number, p: Floats, q: Floats, c: Number, s: Number, tolerance: float) -> Floats:
    """One more block: ln E for every guess. `c`, `s` (…, categories), `logs` (…, guesses)."""
    n_c, n_s = np.sum(c, axis=-1), np.sum(s, axis=-1)
    rho = (n_c / np.maximum(n_c + n_s, 1))[..., None, None]
    g = q / p[..., None, :]
    pooled = 1 + rho * (g - 1)
    f = g / pooled
    block = np.sum(np.asarray(c)[..., None, :] * np.log(f) - np.asarray(s)[..., None, :] * np.log(pooled), axis=-1)
    if tolerance:
        block = block - n_c[..., None] * tolerance * (f.max(-1) - f.min(-1))
    return logs + np.where(((n_c > 0) & (n_s > 0))[..., None], block, 0.0)


def distance(candidate: Floats, stable: Floats) -> float:
    """Total variation distance of two count vectors: the share of answers that would have to move."""
    if not candidate.sum() or not stable.sum():
        return 0.0
    return float(np.abs(candidate / candidate.sum() - stable / stable.sum()).sum() / 2)
