"""Data with and without a shift, for detectors of shifts."""

from functools import cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]


def butterfly(rng: np.random.Generator, count: int) -> Floats:
    """Two wings along the diagonal and a column of noise. Turned by 90°, every column is distributed as before."""
    along = rng.choice([-1.0, 1.0], count) * (1.5 + 0.5 * rng.normal(size=count))
    across = 0.4 * rng.normal(size=count) * np.abs(along)
    return np.column_stack([along + across, along - across, rng.normal(size=count)])


def turned(x: Floats) -> Floats:
    """Turned by 90° in the first two columns."""
    return np.column_stack([-x[:, 1], x[:, 0], x[:, 2]])


@cache
def digits() -> tuple[Floats, Codes, Floats]:
    """(images (n, 64), labels, weights) of scikit-learn's digits that a linear classifier was not trained on."""
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    train, rest = order[:600], order[600:]
    model = LogisticRegression(max_iter=2000).fit(x[train] / 16, y[train])
    return x[rest], y[rest], np.column_stack([model.coef_, model.intercept_])


def softmax(images: Floats) -> Floats:
    """The classifier's probabilities (n, 10)."""
    weights = digits()[2]
    logits = images / 16 @ weights[:, :-1].T + weights[:, -1]
    grown = np.exp(logits - logits.max(axis=1, keepdims=True))
    return grown / grown.sum(axis=1, keepdims=True)


def noisy(rng: np.random.Generator, images: Floats, sigma: float, share: float = 1.0) -> Floats:
    """Gaussian noise on a share of the images, whose pixels are 0 to 16."""
    hit = rng.uniform(size=(len(images), 1)) < share
    return np.clip(images + hit * rng.normal(0, sigma, images.shape), 0, 16)


def moved(images: Floats) -> Floats:
    """Each image one pixel to the right."""
    return np.roll(images.reshape(-1, 8, 8), 1, axis=2).reshape(-1, 64)
