"""The evidence of one window: for every column and alternative an e-value against "drawn as everything before it was".

Let p̃ be the shares of base and window together, x the window's n rows by cell. For shares Q that depend on nothing
but p̃ (and, in one of them, on earlier windows), E = Π (Q/p̃)^x. Given base and window together, the window is a
draw without replacement from them if nothing has changed, whatever the distribution is; such a draw's mean of a
product is at most that of one with replacement (Hoeffding 1963, theorem 4), which is (Σ p̃·Q/p̃)ⁿ = 1. So E has
mean ≤ 1 for windows of any size and references of any size, with nothing estimated and nothing asymptotic. Where the
window has more rows than the base, p̃ is nearly the window's own shares, and says more of the base: then the same is
done with the base's rows as x, which are such a draw as well, and alternatives that move the other way.

Between windows: the base takes in each window after it was evaluated, so what is compared is the window's distance from
the mean of all rows before it. Such recursive residuals (Brown, Durbin, Evans 1975) are uncorrelated whatever the
shares are, and independent where sums of rows are normal. That step, and only that, holds in the limit of many rows.
"""

import numpy as np

from argosy.monitoring.drift.geometry import APART, RARE, STEPS, Geometry
from argosy.profiles.cells import Floats

SMOOTHING = 50.0
"""Rows of the shares so far that smooth what is learned of the last windows; set with the sizes of `geometry`."""
LEFT = (0.5, 0.05)
"""Of the share of rows in cells that should stay empty, what is expected of the base where the window brought them."""


def log_e(where: Geometry, base: Floats, window: Floats, recent: Floats) -> Floats:
    """ln E, shape (…, D, A). `base`, `window` (…, D, C) are counts; `recent` (…, D, A, C) what each alternative has
    seen since it last started anew, without this window. 0 for columns without a row on either side."""
    n, m = window.sum(axis=-1), base.sum(axis=-1)
    shares = (base + window) / np.maximum(n + m, 1)[..., None]
    parts = [
        _tilts(where.tilts, shares, window, n),
        _rare(where, shares, window, n),
        _apart(shares, window, n),
        _learned(shares, window, recent[..., -len(STEPS) :, :]),
    ]
    out = np.concatenate(parts, axis=-1)
    if (n > m).any():
        # The alternatives in the same order, with bets on the rows of the base, of which windows teach nothing.
        parts = [_tilts(-where.tilts, shares, base, m), _common(where, shares, base, m), _apart(shares, base, m)]
        of_base = np.concatenate([*parts, np.zeros((*m.shape, len(STEPS)))], axis=-1)
        out = np.where((n > m)[..., None], of_base, out)
    return np.where(((n > 0) & (m > 0))[..., None], out, 0.0)


def _tilts(tilts: Floats, shares: Floats, rows: Floats, n: Floats) -> Floats:
    mean = np.einsum("...dc,dtc->...dt", shares, np.exp(tilts))
    return np.einsum("...dc,dtc->...dt", rows, tilts) - n[..., None] * np.log(np.maximum(mean, 1e-300))


def _rare(where: Geometry, shares: Floats, window: Floats, n: Floats) -> Floats:
    """A share of the rows goes to cells that should stay empty."""
    held = np.einsum("...dc,dgc->...dg", shares, where.rare)[..., None]
    count = np.einsum("...dc,dgc->...dg", window, where.rare)[..., None]
    size = np.array(RARE)
    up = np.log(1 - size + size / np.maximum(held, 1e-12))
    out = np.where(count > 0, count * up, 0.0) + (n[..., None, None] - count) * np.log(1 - size)
    return out.reshape(*out.shape[:-2], -1)


def _common(where: Geometry, shares: Floats, base: Floats, m: Floats) -> Floats:
    """A part of the rows in cells that should stay empty never came to the base."""
    held = np.einsum("...dc,dgc->...dg", shares, where.rare)[..., None]
    count = np.einsum("...dc,dgc->...dg", base, where.rare)[..., None]
    left = np.array(LEFT)
    others = np.log(1 - left * held) - np.log(np.maximum(1 - held, 1e-12))
    out = count * np.log(left) + np.where(held < 1, (m[..., None, None] - count) * others, 0.0)
    return out.reshape(*out.shape[:-2], -1)


def _apart(shares: Floats, window: Floats, n: Floats) -> Floats:
    """Any other shares: a Dirichlet mixture around p̃, at distances Σ(q − p̃)²/p̃ of about 0.05 and 0.5."""
    cells = np.maximum((shares > 0).sum(axis=-1), 2)
    out: list[Floats] = []
    plain = np.sum(np.where(window > 0, window * np.log(np.maximum(shares, 1e-300)), 0.0), axis=-1)
    for distance in APART:
        kappa = (cells - 1) / distance
        alpha = np.maximum(kappa[..., None] * shares, 1e-12)
        rise = np.where(window > 0, log_gamma(alpha + window) - log_gamma(alpha), 0.0).sum(axis=-1)
        out.append(rise - log_gamma(kappa + n) + log_gamma(kappa) - plain)
    return np.stack(out, axis=-1)


def _learned(shares: Floats, window: Floats, recent: Floats) -> Floats:
    """The shares of the windows before this one since the alternative started anew, smoothed by 50 rows of p̃."""
    rows = recent.sum(axis=-1, keepdims=True)
    p = shares[..., None, :]
    learned = (recent + SMOOTHING * p) / (rows + SMOOTHING)
    step = np.array(STEPS)[:, None]
    ratio = np.where(p > 0, 1 - step + step * learned / np.where(p > 0, p, 1.0), 1.0)
    return np.sum(window[..., None, :] * np.log(ratio), axis=-1)


def log_gamma(x: Floats) -> Floats:
    """ln Γ(x) for x > 0 by Stirling's series at x + 6, good to 1e-9."""
    product = x * (x + 1) * (x + 2) * (x + 3) * (x + 4) * (x + 5)
    y = x + 6
    series = 1 / (12 * y) - 1 / (360 * y**3) + 1 / (1260 * y**5)
    return (y - 0.5) * np.log(y) - y + 0.9189385332046727 + series - np.log(product)
