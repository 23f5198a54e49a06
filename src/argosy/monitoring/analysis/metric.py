"""A user's metric: one number per arm and look, of which more (or less) is worse. Is the candidate's worse?

d is candidate − stable, turned so that positive is worse.

Bounded in [low, high], R = high − low: Π (1 + λ(d − tolerance)/(R + tolerance)) for λ in (0, 1) is a test
supermartingale for "E[d | past] ≤ tolerance", with no further assumption (betting; Waudby-Smith & Ramdas 2023,
"Estimating means of bounded random variables by betting").

Unbounded: exp(x − x²/2) with x = λd / (scale of past d), held at e^½ from x = 1 on, is one for d symmetric about zero
given the past (de la Peña 1999; the hold keeps exp(x − x²/2) + exp(−x − x²/2) ≤ 2 and makes it grow with d, so smaller
d are covered too). Heavy tails do no harm. d is symmetric where both numbers are drawn alike; where the arms' numbers
are averages over very unequal counts of a skewed quantity, declare the bounds instead.

Numbers that repeat because a query answers twice about the same window are not new evidence: feed a metric no faster
than its window.
"""

import numpy as np

from argosy.monitoring.binary import Floats, Number, mix

BETS = (0.02, 0.06, 0.2, 0.5, 0.9)
WEIGHTS = np.full(5, 0.2)


def bounded(logs: Number, d: Number, spread: float, tolerance: float = 0.0) -> Floats:
    """One more look at a bounded metric. `d` (…) within ±spread; `logs` (…, bets)."""
    scaled = (np.asarray(d, float) - tolerance) / (spread + abs(tolerance))
    return logs + np.log1p(np.clip(scaled, -1.0, 1.0)[..., None] * np.array(BETS))


def unbounded(logs: Number, d: Number, square: Number, looks: Number, tolerance: float = 0.0) -> Floats:
    """One more look at an unbounded metric. `square` and `looks`: sum of past d² and their number; the first look only
    sets the scale."""
    scale = np.sqrt(square / np.maximum(looks, 1))
    moved = np.asarray(d, float) - tolerance
    x = np.minimum((moved / np.where(scale > 0, scale, 1.0))[..., None] * np.array(BETS), 1.0)
    step = x - x**2 / 2
    return logs + np.where((np.asarray(looks) > 0)[..., None] & (scale > 0)[..., None], step, 0.0)


def evidence(logs: Number) -> Floats:
    """ln E of the mixture over bets."""
    return mix(logs, WEIGHTS)
