"""`python -m prove.streamdrift`: when detectors notice a reversed concept; writes a table into docs/guides/drift.md.

Streams as in Tornado's generators Sine1 and Mixed (Pesaranghader): classes balanced, 10 % of labels flipped, the
concept reversed every 20,000 rows with a sigmoid transition of 50. A Gaussian naive Bayes model predicts each row and
then learns it; at an alarm model and detector begin anew.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from prove.document import put
from prove.streamevidence import Stream, answers, errors

DOCUMENT = Path(__file__).parent.parent / "docs" / "guides" / "drift.md"
BEGIN, END = "<!-- stream:begin -->", "<!-- stream:end -->"
ROWS, EVERY, WIDTH, WITHIN, NOISE = 100_000, 20_000, 50, 250, 0.1
KINDS = ("Sine1", "Mixed")

Bits = npt.NDArray[np.bool_]
Detector = Callable[[float], bool]
"""Fed with the probability given to the true label; true at an alarm."""


def draw(kind: str, seed: int, rows: int = ROWS, every: int = EVERY) -> tuple[list[list[float]], list[int]]:
    """Features and labels."""
    rng = np.random.default_rng(seed)
    x = rng.random((3 * rows + 100, 2 if kind == "Sine1" else 4))
    if kind == "Mixed":
        x[:, :2] = x[:, :2] > 0.5
    positive, wanted = _concept(kind, x), rng.random(rows) < 0.5
    places = np.where(wanted, np.flatnonzero(positive)[:rows], np.flatnonzero(~positive)[:rows])
    time_, since = np.arange(rows) // every, np.arange(rows) % every
    moved = 1 / (1 + np.exp(-4 * (since - WIDTH / 2) / WIDTH))
    moved[(since >= WIDTH) | (time_ == 0)] = 1
    reversed_ = np.where(rng.random(rows) < moved, time_, time_ - 1) % 2 == 1
    labels = wanted ^ reversed_
    flipped = rng.choice(rows, int(rows * NOISE), replace=False)
    labels[flipped] ^= True
    return x[places].tolist(), labels.astype(int).tolist()


def _concept(kind: str, x: npt.NDArray[np.float64]) -> Bits:
    if kind == "Sine1":
        return np.asarray(x[:, 1] <= np.sin(x[:, 0]))
    below = x[:, 3] < 0.5 + 0.3 * np.sin(3 * np.pi * x[:, 2])
    return np.asarray(x[:, 0] + x[:, 1] + below >= 2)


class NaiveBayes:
    """Two classes, normal features; it learns row by row."""

    def __init__(self, features: int) -> None:
        self.count = [0, 0]
        self.mean = [[0.0] * features, [0.0] * features]
        self.m2 = [[0.0] * features, [0.0] * features]

    def probability(self, row: list[float]) -> float:
        """Of class 1."""
        if not self.count[0] or not self.count[1]:
            return 0.5
        apart = self._log(row, 1) - self._log(row, 0)
        return 1 / (1 + math.exp(-min(max(apart, -500.0), 500.0)))

    def _log(self, row: list[float], label: int) -> float:
        n = self.count[label]
        out = math.log(n)
        for value, mean, m2 in zip(row, self.mean[label], self.m2[label], strict=True):
            variance = max(m2 / n, 1e-6)
            out -= 0.5 * math.log(variance) + (value - mean) ** 2 / (2 * variance)
        return out

    def learn(self, row: list[float], label: int) -> None:
        """One more row."""
        self.count[label] += 1
        n, means, m2 = self.count[label], self.mean[label], self.m2[label]
        for index, value in enumerate(row):
            apart = value - means[index]
            means[index] += apart / n
            m2[index] += apart * (value - means[index])


def ours_errors(run_length: float) -> Detector:
    """Argosy's detector of errors."""
    state = Stream()

    def step(probability: float) -> bool:
        nonlocal state
        state = errors(state, probability < 0.5)
        return state.run_length >= run_length

    return step


def ours_answers(run_length: float) -> Detector:
    """Argosy's detector of answers."""
    state = Stream()

    def step(probability: float) -> bool:
        nonlocal state
        state = answers(state, probability)
        return state.run_length >= run_length

    return step


def river(name: str) -> Detector:
    """A detector of River with its defaults, fed with errors."""
    from river import drift

    library: Any = drift
    detector = library.ADWIN() if name == "ADWIN" else library.binary.HDDMW()

    def step(probability: float) -> bool:
        detector.update(int(probability < 0.5))
        return bool(detector.drift_detected)

    return step


DETECTORS: dict[str, Callable[[], Detector]] = {
    "ADWIN (River)": lambda: river("ADWIN"),
    "HDDM-W (River)": lambda: river("HDDM-W"),
    "Argosy, errors, run length 100,000": lambda: ours_errors(1e5),
    "Argosy, answers, run length 100,000": lambda: ours_answers(1e5),
    "Argosy, answers, run length 1,000,000": lambda: ours_answers(1e6),
}


@dataclass(frozen=True)
class Outcome:
    """Of one stream: changes found, false alarms, delays in rows, share of right predictions."""

    found: int
    false: int
    delays: tuple[int, ...]
    accuracy: float


def run(kind: str, name: str, seed: int, rows: int = ROWS, every: int = EVERY) -> Outcome:
    """Predict, watch, learn."""
    features, labels = draw(kind, seed, rows, every)
    model, detector = NaiveBayes(len(features[0])), DETECTORS[name]()
    alarms, right = list[int](), 0
    for place, (row, label) in enumerate(zip(features, labels, strict=True)):
        p = model.probability(row)
        true = p if label else 1 - p
        right += true > 0.5
        if detector(true):
            alarms.append(place)
            model, detector = NaiveBayes(len(row)), DETECTORS[name]()
        model.learn(row, label)
    return judge(alarms, rows, every, right / rows)


def judge(alarms: list[int], rows: int, every: int, accuracy: float) -> Outcome:
    """The first alarm within 250 rows of a change finds it; all others are false."""
    firsts = [
        next((alarm for alarm in alarms if change <= alarm < change + WITHIN), None)
        for change in range(every, rows, every)
    ]
    delays = tuple(alarm % every for alarm in firsts if alarm is not None)
    return Outcome(len(delays), len(alarms) - len(delays), delays, accuracy)


def stationary(name: str, rate: float, rows: int, seed: int) -> int:
    """Alarms in a stream of errors at a constant rate; the detector begins anew at each."""
    wrong = np.random.default_rng(seed).random(rows) < rate
    detector, alarms = DETECTORS[name](), 0
    for value in np.where(wrong, 0.0, 1.0).tolist():
        if detector(value):
            alarms, detector = alarms + 1, DETECTORS[name]()
    return alarms


def delay(name: str, seed: int) -> int:
    """Rows until errors rising from 15 to 30 % after 5,000 rows are noticed; −1 if not within 5,000, or before."""
    wrong = np.random.default_rng(seed).random(10_000) < np.where(np.arange(10_000) < 5000, 0.15, 0.3)
    detector = DETECTORS[name]()
    for place, value in enumerate(np.where(wrong, 0.0, 1.0).tolist()):
        if detector(value):
            return max(place - 5000, -1)
    return -1


def cells(outcomes: list[Outcome]) -> str:
    """Changes found of four, false alarms a stream, mean delay, accuracy."""
    delays = [one for outcome in outcomes for one in outcome.delays]
    found, false = (np.mean([getattr(one, name) for one in outcomes]) for name in ("found", "false"))
    middle = f"{np.mean(delays):.1f}" if delays else "–"
    return f"{found:.1f} / {false:.1f} / {middle} / {np.mean([one.accuracy for one in outcomes]):.4f}"


def table(seeds: int, rows: int, every: int) -> str:
    """The Markdown between the markers."""
    began = time.monotonic()
    lines = [
        "| found / false / delay / accuracy | Sine1 | Mixed | 15 % errors: alarms per 100,000 | 15 → 30 %: delay |",
        "| --- | --- | --- | --- | --- |",
    ]
    with ProcessPoolExecutor(2) as pool:
        runs = {
            (name, kind): [pool.submit(run, kind, name, seed, rows, every) for seed in range(seeds)]
            for name in DETECTORS
            for kind in KINDS
        }
        bits = [name for name in DETECTORS if "answers" not in name]
        still = {name: [pool.submit(stationary, name, 0.15, rows, seed) for seed in range(2 * seeds)] for name in bits}
        rises = {name: [pool.submit(delay, name, seed) for seed in range(8 * seeds)] for name in bits}
        for name in DETECTORS:
            row = [cells([one.result() for one in runs[name, kind]]) for kind in KINDS]
            if name in bits:
                found = [late for one in rises[name] if (late := one.result()) >= 0]
                total = len(rises[name])
                note = f" ({total - len(found)} of {total} early or missed)" if len(found) < total else ""
                row.append(f"{np.mean([one.result() for one in still[name]]) * 100_000 / rows:.1f}")
                row.append(f"{np.mean(found):.0f}{note}" if found else "missed")
            else:
                row += ["", ""]
            lines.append(f"| {name} | {' | '.join(row)} |")
    lines += ["", f"{seeds} seeds of {rows:,} rows each; {time.monotonic() - began:.0f} s."]
    return "\n".join(lines)


def write(text: str) -> None:
    """Put it between the markers of docs/guides/drift.md."""
    put(DOCUMENT, BEGIN, END, text)


def main() -> int:
    """Prints the table, and writes it unless told to be quick."""
    parser = argparse.ArgumentParser(prog="python -m prove.streamdrift", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed of 10,000 rows: does it run; writes nothing")
    options = parser.parse_args()
    text = table(1, 10_000, 2000) if options.quick else table(5, ROWS, EVERY)
    print(text)
    if not options.quick:
        write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
