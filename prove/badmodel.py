"""`python -m prove.badmodel`: a candidate that loads and is wrong is rolled back before it does harm.

Labels permuted, answers that are no numbers, and ten times as slow: 1,000 trials of each are simulated with the real
state machine and the real policy, on a clock that is counted, at random rates of requests, looked at once a second. A
trial is good if the candidate was rolled back within 60 seconds or 200 requests. 1,000 trials of candidates that are as
good as they have to be tell how many of them are rolled back as well.

Then a few with a real model, server and candidate process: clients ask without a pause, and no gap between two answers
is longer than a second.
"""

import argparse
import http.client
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from argosy_edge.server import DeviceServer
from argosy_edge.serving import Serving
from argosy_edge.state import Content, Looked, State
from argosy_edge.trial import Array, agrees, cell
from argosy_edge.update import decide
from argosy_edge.wire import Arm, Quality, Trial

KINDS = ("permuted", "nan", "slow")
LABELS = 10
SECONDS, REQUESTS = 60.0, 200
LONGEST = 3600
"""Simulated seconds after which a trial has failed."""

Answer = tuple[dict[str, Array], float]
"""Outputs, and how long it took."""


class Trials(msgspec.Struct):
    """What came of the simulated trials of one kind."""

    kind: str
    trials: int = 0
    caught: int = 0
    committed: int = 0
    rolled_back: int = 0
    seconds: float = 0.0
    requests: int = 0

    def line(self) -> str:
        """The figures."""
        if self.kind == "good":
            return f"good: {self.rolled_back} of {self.trials:,} rolled back, {self.committed:,} committed"
        return (
            f"{self.kind}: rolled back in {SECONDS:g} s or {REQUESTS} requests in {self.caught:,} of {self.trials:,} "
            f"trials, at most after {self.seconds:.0f} s, with at most {self.requests:,} requests where that was longer"
        )


def stable(chance: np.random.Generator) -> Answer:
    """The slot before: scores of classes, in a millisecond or two."""
    scores = chance.dirichlet(np.full(LABELS, 0.2), 1).astype(np.float32)
    return {"scores": scores}, float(chance.lognormal(-6.5, 0.3))


def candidate(kind: str, answer: Answer, chance: np.random.Generator) -> Answer:
    """What a candidate of this kind answers to the same."""
    scores, seconds = answer[0]["scores"], float(chance.lognormal(-6.5, 0.3))
    match kind:
        case "permuted":
            return {"scores": np.roll(scores, 1, axis=1)}, seconds
        case "nan":
            return {"scores": np.full_like(scores, np.nan)}, seconds
        case "slow":
            return {"scores": scores}, 10 * seconds
        case _:
            if chance.random() < 0.07:
                return {"scores": np.roll(scores, 1, axis=1)}, seconds
            return {"scores": scores}, 1.5 * seconds


def look(kind: str, count: int, chance: np.random.Generator, trial: Trial) -> Quality:
    """A second of a trial in the shadow."""
    cells = {"stable": [0] * 24, "candidate": [0] * 24}
    agreed = 0
    for _ in range(count):
        before = stable(chance)
        after = candidate(kind, before, chance)
        cells["stable"][cell(before[1])] += 1
        cells["candidate"][cell(after[1])] += 1
        agreed += agrees(before[0], after[0], trial.tolerance)
    arms = {name: Arm(requests=count, latency=tuple(counts)) for name, counts in cells.items()}
    return Quality(stable=arms["stable"], candidate=arms["candidate"], compared=count, agreed=agreed)


def simulated(kind: str, number: int, counts: Trials) -> None:
    """One trial."""
    chance = np.random.default_rng((number, len(kind)))
    trial = Trial()
    one = Content(index=1, ref="digits:1", package="sha256:1", envelope="1")
    two = Content(index=2, ref="digits:2", package="sha256:2", envelope="2", trial=trial)
    state = State(
        phase="trial", committed="a", free="b", slots={"a": one, "b": two}, target=two, floor=1, loads=trial.loads
    )
    rate = float(np.exp(chance.uniform(np.log(0.1), np.log(200))))
    requests, second = 0, 0
    while state.phase == "trial" and second < LONGEST:
        second += 1
        count = int(chance.poisson(rate))
        requests += count
        _, state = decide(Looked(quality=look(kind, count, chance, trial), seconds=1.0), state)
    counts.trials += 1
    counts.committed += state.phase == "commit"
    if state.phase == "rollback":
        counts.rolled_back += 1
        counts.caught += second < SECONDS or requests <= REQUESTS
        if requests > REQUESTS:
            counts.seconds = max(counts.seconds, second)
        if second >= SECONDS:
            counts.requests = max(counts.requests, requests)


class Caller(threading.Thread):
    """Asks one row after the other. `gap`: the longest time from one answer to the next; `failed`: no answer came."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.port, self.answers, self.gap, self.failed = port, 0, 0.0, 0
        self.over = threading.Event()

    def run(self) -> None:
        chance, last = np.random.default_rng(0), time.monotonic()
        while not self.over.is_set():
            row = chance.standard_normal((1, 4)).round(3).tolist()
            body = msgspec.json.encode({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": row}]})
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
                connection.request("POST", "/v2/models/model/infer", body, {"content-type": "application/json"})
                answer = connection.getresponse()
                good = answer.status == 200 and bool(answer.read())
                connection.close()
            except OSError:
                good = False
            now = time.monotonic()
            self.failed += not good
            self.answers += 1
            self.gap, last = max(self.gap, now - last), now
            self.over.wait(0.02)


def packages(folder: Path) -> dict[str, tuple[Path, dict[str, Any]]]:
    """A model, one as good, and those that are wrong."""
    from tests.distributions.edge.packages import ROWS, SCORES, SIGNATURE, WEIGHTS, busy, classifier, written

    nan, near = {"w": np.full_like(WEIGHTS, np.nan)}, {"w": WEIGHTS * np.float32(1.1)}
    return {
        "stable": (folder / "stable", classifier(folder / "stable")),
        "good": (folder / "good", written(folder / "good", SCORES, near, SIGNATURE, {"x": ROWS})),
        "permuted": (folder / "permuted", classifier(folder / "permuted", order=(2, 0, 1))),
        "nan": (folder / "nan", written(folder / "nan", SCORES, nan, SIGNATURE, {"x": ROWS})),
        "slow": (folder / "slow", busy(folder / "slow", 400)),
    }


def real(kind: str, home: Path, found: dict[str, tuple[Path, dict[str, Any]]]) -> bool:
    """One trial of a real device. Prints what came of it; whether it is as it has to be."""
    from tests.distributions.edge.devices import Device, Packages, desired

    source = Packages({1: found["stable"], 2: found[kind]})
    rules = Trial(rows=100, seconds=5.0)
    server = DeviceServer(0).start()
    with Device(home, Serving(server), source) as device:
        device.agent.want(desired(source.update(1, trial=rules)))
        device.settled(1)
        caller = Caller(server.port)
        caller.start()
        device.agent.want(desired(source.update(2, trial=rules)))
        device.until(lambda: device.state.phase == "trial", 60)
        before, began = caller.answers, time.monotonic()
        device.until(lambda: device.state.phase == "idle", 90)
        seconds, requests = time.monotonic() - began, caller.answers - before
        time.sleep(0.5)
        caller.over.set()
        caller.join()
        index = device.state.content.index if device.state.content else 0
        why = (device.said("rolled_back") or device.said("committed")[-1:])[0]
    server.stop()
    done = index == (2 if kind == "good" else 1) and caller.gap <= 1.0 and not caller.failed
    done &= kind == "good" or seconds < SECONDS or requests <= REQUESTS
    print(
        f"real, {kind}: {'committed' if index == 2 else 'rolled back'} after {seconds:.1f} s and {requests} requests, "
        f"longest gap {caller.gap * 1000:.0f} ms, {caller.failed} failed: {why}",
        flush=True,
    )
    return done


def main() -> int:
    """The figures; 1 where a bad candidate was not rolled back in time."""
    parser = argparse.ArgumentParser(prog="prove.badmodel")
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--real", type=int, default=3, help="trials of each kind with a real device")
    given = parser.parse_args()
    good = True
    for kind in (*KINDS, "good"):
        counts = Trials(kind=kind)
        for number in range(given.trials):
            simulated(kind, number, counts)
        print(counts.line(), flush=True)
        good &= counts.rolled_back <= 0.05 * counts.trials if kind == "good" else counts.caught == counts.trials
    with tempfile.TemporaryDirectory() as folder:
        found = packages(Path(folder))
        for number in range(given.real):
            for kind in (*KINDS, "good"):
                good &= real(kind, Path(folder, f"{kind}{number}"), found)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
