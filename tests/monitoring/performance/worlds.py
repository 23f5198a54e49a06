"""Small worlds with a known truth, for estimates without labels."""

import numpy as np
import numpy.typing as npt

from argosy.monitoring.performance.cbpe import Reference

Floats = npt.NDArray[np.float64]


def truth(x: Floats) -> Floats:
    """P(label 1): a ridge in the first feature, which the model below knows only in part."""
    return 1 / (1 + np.exp(-(2 * x[:, 0] + 1.5 * np.sin(2 * x[:, 1]))))


def rows(rng: np.random.Generator, x: Floats) -> Reference:
    """What the model says of these rows, and their labels."""
    score = 1 / (1 + np.exp(-2.5 * x[:, 0]))
    return Reference(
        scores=score,
        decided=(score > 0.5).astype(np.int64),
        features=x,
        labels=(rng.uniform(size=len(x)) < truth(x)).astype(np.int64),
    )


def square(rng: np.random.Generator, count: int, low: float = -1.5, high: float = 1.5) -> Floats:
    """Rows of four features, uniform in the first two."""
    return np.column_stack([rng.uniform(low, high, (count, 2)), rng.normal(size=(count, 2))])
