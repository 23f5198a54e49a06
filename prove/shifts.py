"""`python -m prove.shifts`: which detector sees which shift of images; writes docs/guides/performance.md.

The protocol of "Failing Loudly" (Rabanser, Günnemann, Lipton, NeurIPS 2019) on scikit-learn's digits, whose 8×8 images
are at hand: a linear model trained on 600, a reference of 500, windows of 20 to 200 of the rest, shifts on some or all
of them. Exit status 1 where a detector alarms without a shift in more than 5 %, beyond chance.
"""

import argparse
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.stats import binom
from threadpoolctl import threadpool_limits

from argosy.monitoring.multivariate import classifier, components, kernel, outputs
from prove import labelshift
from prove.document import put

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Generator = np.random.Generator
DOCUMENT = Path(__file__).parent.parent / "docs" / "guides" / "performance.md"
BEGIN, END = "<!-- shifts:begin -->", "<!-- shifts:end -->"
TRAINED, REFERENCE = 600, 500
SIZES = (20, 50, 100, 200)
ALPHA = 0.05
TRIALS = 60


@dataclass(frozen=True)
class Digits:
    """Images (n, 64) of 0 to 16 with labels, and the trained model's weights (10, 65)."""

    images: Floats
    labels: Codes
    weights: Floats

    def softmax(self, images: Floats) -> Floats:
        """The model's probabilities (n, 10)."""
        logits = images / 16 @ self.weights[:, :-1].T + self.weights[:, -1]
        grown = np.exp(logits - logits.max(axis=1, keepdims=True))
        return grown / grown.sum(axis=1, keepdims=True)


def linear(strength: float = 0.1) -> classifier.Learner:
    """Logistic regression on standardised columns: for embeddings, whose columns are many and alike."""
    from sklearn.linear_model import LogisticRegression

    def learn(x: Floats, y: Codes, seed: int) -> tuple[classifier.Model, Floats]:
        middle, spread = x.mean(axis=0), x.std(axis=0)
        spread[spread == 0] = 1.0
        model = LogisticRegression(C=strength, class_weight="balanced", max_iter=1000, tol=1e-3, random_state=seed)
        with threadpool_limits(1):
            model.fit((x - middle) / spread, y)
        return lambda rows: model.predict_proba((rows - middle) / spread)[:, 1], np.abs(model.coef_[0])

    return learn


def load() -> Digits:
    """All but the rows the model was trained on."""
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    train, rest = order[:TRAINED], order[TRAINED:]
    model = LogisticRegression(max_iter=2000).fit(x[train] / 16, y[train])
    return Digits(x[rest], y[rest], np.column_stack([model.coef_, model.intercept_]))


def noise(sigma: float, share: float) -> Callable[[Generator, Floats], Floats]:
    """Gaussian noise of so many grey levels on a share of the images."""

    def change(rng: Generator, images: Floats) -> Floats:
        hit = rng.uniform(size=(len(images), 1)) < share
        return np.clip(images + hit * rng.normal(0, sigma, images.shape), 0, 16)

    return change


def move(share: float) -> Callable[[Generator, Floats], Floats]:
    """A share of the images one pixel to the right."""

    def change(rng: Generator, images: Floats) -> Floats:
        hit = rng.uniform(size=(len(images), 1)) < share
        return np.where(hit, np.roll(images.reshape(-1, 8, 8), 1, axis=2).reshape(-1, 64), images)

    return change


SHIFTS: dict[str, Callable[[Generator, Floats], Floats]] = {
    "none": lambda rng, images: images,
    "noise σ 2 on all": noise(2, 1),
    "noise σ 8 on all": noise(8, 1),
    "noise σ 8 on a tenth": noise(8, 0.1),
    "moved by a pixel, all": move(1),
    "moved by a pixel, half": move(0.5),
    "no 0, 1, 2": lambda rng, images: images,
}
DETECTORS = ("model outputs", "label shift", "components", "kernel", "classifier")


def draw(digits: Digits, seed: int, size: int, shift: str) -> tuple[Codes, Floats]:
    """(rows of the reference, images of the window)."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(digits.images))
    reference, rest = order[:REFERENCE], order[REFERENCE:]
    if shift == "no 0, 1, 2":
        rest = rest[digits.labels[rest] > 2]
    return reference, SHIFTS[shift](rng, digits.images[rest[:size]])


def evidence(digits: Digits, seed: int, size: int, shift: str) -> list[float]:
    """p of each detector on one window."""
    rows, window = draw(digits, seed, size, shift)
    reference = digits.images[rows]
    scores, now = digits.softmax(reference), digits.softmax(window)
    known = components.fit(reference, seed=seed)
    names = [str(digit) for digit in range(10)]
    return [
        outputs.compare(scores, now).p,
        labelshift.compare_labels(digits.labels[rows], scores.argmax(axis=1), now.argmax(axis=1), names).p,
        components.compare(known, window).p,
        kernel.compare(reference, window, 200, seed=seed).p,
        classifier.compare(reference, window, learner=linear(), seed=seed).p,
    ]


def found(shift: str, size: int, trials: int) -> Floats:
    """How many of the windows each detector sees, at 5 %."""
    digits = load()
    with threadpool_limits(1):
        p = np.array([evidence(digits, seed, size, shift) for seed in range(trials)])
    return (p <= ALPHA).sum(axis=0)


def table(counts: dict[tuple[str, int], Floats], trials: int) -> str:
    """Shares by shift and size, in Markdown."""
    lines = [
        f"| shift | {' | '.join(DETECTORS)} |",
        f"| --- |{' --- |' * len(DETECTORS)}",
    ]
    for shift in SHIFTS:
        cells = [" ".join(f"{counts[shift, n][i] / trials:.2f}" for n in SIZES) for i in range(len(DETECTORS))]
        lines.append(f"| {shift} | {' | '.join(cells)} |")
    sizes = ", ".join(str(size) for size in SIZES)
    return "\n".join([*lines, "", f"Share of {trials} windows seen at p ≤ 5 %, of {sizes} images each."])


def write(text: str) -> None:
    """Put it between the markers of docs/guides/performance.md."""
    put(DOCUMENT, BEGIN, END, text)


def main() -> int:
    """1 if any detector alarms too often without a shift."""
    parser = argparse.ArgumentParser(prog="python -m prove.shifts", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="five windows of each; writes nothing")
    trials = 5 if parser.parse_args().quick else TRIALS
    with ProcessPoolExecutor(2) as pool:
        pending = {(shift, size): pool.submit(found, shift, size, trials) for shift in SHIFTS for size in SIZES}
        counts = {key: future.result() for key, future in pending.items()}
    text = table(counts, trials)
    print(text)
    if trials == TRIALS:
        write(text)
    # 20 counts are judged together: each may be so high once in 20,000 proofs.
    most = binom.ppf(1 - 1 / 20_000, trials, ALPHA)
    return 0 if all((counts["none", size] <= most).all() for size in SIZES) else 1


if __name__ == "__main__":
    sys.exit(main())
