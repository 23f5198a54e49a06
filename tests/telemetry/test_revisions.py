"""What one arm did between two looks, whoever of those that count was silent, came or went."""

from typing import Any

import pytest

from argosy.control.rollout.evidence import Evidence, Look, learn
from argosy.serving.counts import Counts, bucket
from argosy.spec.address import Address
from argosy.spec.guard import Guard
from argosy.spec.revision import Replica
from argosy.telemetry.replicas import told
from argosy.telemetry.revisions import Arm, Told, between, history, marked

SLOW, FAST = bucket(0.0009), bucket(0.0003)


def process(started: float, cats: int, latency: int = FAST) -> Told:
    return Told(started, Counts(requests=cats, latency={latency: cats}, outputs={"y": {"cat": cats}}))


def arm(requests: int = 0, **replicas: Told | None) -> Arm:
    return Arm(gateway=Counts(requests=requests, latency={90: requests}), replicas=replicas)


def test_replicas_tell_latency_and_predictions_and_the_gateway_the_rest() -> None:
    found = between(arm(30, a=process(1, 12)), arm(20, a=process(1, 5)), 10.0, fine=True)
    assert found == Counts(requests=10, latency={FAST: 7}, outputs={"y": {"cat": 7}})
    assert between(arm(30), arm(20), 10.0, fine=False).latency == {90: 10}


def test_one_that_did_not_answer_is_counted_when_it_does() -> None:
    first = arm(10, a=process(1, 10))
    silent = marked(arm(20, a=None), first)
    assert between(arm(20, a=None), first, 10.0, fine=True).latency == {}
    assert between(arm(30, a=process(1, 30)), silent, 11.0, fine=True).latency == {FAST: 20}


def test_a_process_that_started_since_counts_whole_and_one_from_before_from_now_on() -> None:
    new, old = process(12.0, 4), process(3.0, 400)
    found = between(arm(5, new=new, old=old), arm(), 10.0, fine=True)
    assert found.outputs == {"y": {"cat": 4}}
    after = marked(arm(5, new=new, old=old), arm())
    assert between(arm(9, old=process(3.0, 403)), after, 11.0, fine=True).outputs == {"y": {"cat": 3}}


def test_a_process_that_is_gone_is_forgotten() -> None:
    assert marked(arm(1, b=process(2, 1)), arm(1, a=process(1, 1))).replicas.keys() == {"b"}


@pytest.mark.parametrize("fine", [True, False])
def test_history_is_of_one_kind(fine: bool) -> None:
    found = history(arm(7, a=process(1, 5), b=None), fine=fine)
    assert (found.requests, found.latency) == (7, {FAST: 5} if fine else {90: 7})


def grown(candidate: Told, stable: Told, turn: int) -> Look:
    arms = [arm(turn * 50, c=candidate), arm(turn * 950, s=stable)]
    return Look(now=100.0 + turn, candidate=arms[0], stable=arms[1])


def judged(turns: int, category: str, latency: int) -> Evidence:
    """A candidate that answers, and takes as long, as told, seen every second."""
    found = learn(Look(now=100.0, candidate=arm(), stable=arm(950, s=process(1, 950))), Evidence(), Guard())
    for turn in range(1, turns):
        n = 50 * turn
        new = Told(100.5, Counts(requests=n, latency={latency: n}, outputs={"y": {category: n}}))
        found = learn(grown(new, process(1, 950 * (turn + 1)), turn), found, Guard())
    return found


def test_a_candidate_three_times_slower_below_a_millisecond_goes_back() -> None:
    found = judged(8, "cat", SLOW)
    assert found.verdict == "rollback"
    assert "latency" in found.reason


def test_a_candidate_that_predicts_otherwise_goes_back() -> None:
    found = judged(30, "dog", FAST)
    assert found.verdict == "rollback"
    assert "'y'" in found.reason or "y " in found.reason


def test_an_equal_candidate_does_not() -> None:
    assert judged(30, "cat", FAST).verdict != "rollback"


async def test_a_replica_that_is_not_there_tells_nothing(tmp_path: Any) -> None:
    nobody = Replica(
        id="r", endpoint="e", revision="v", phase="ready", http=Address(path=str(tmp_path / "no")), started=1.0
    )
    assert await told([nobody]) == {"r/1.0": None}
