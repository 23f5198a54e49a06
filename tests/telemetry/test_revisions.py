"""What was counted of a revision between two readings, whichever process did not answer, came or went."""

from typing import Any

import pytest

from argosy.control.rollout.evidence import Evidence, Reading, learn
from argosy.serving.counts import Counts, bucket
from argosy.spec.address import Address
from argosy.spec.guard import Guard
from argosy.spec.revision import Replica
from argosy.telemetry import feed
from argosy.telemetry.counters import ProcessCounts, RevisionCounts, between, carried, history

SLOW, FAST = bucket(0.0009), bucket(0.0003)


def process(started: float, cats: int, latency: int = FAST) -> ProcessCounts:
    return ProcessCounts(started, Counts(requests=cats, latency={latency: cats}, outputs={"y": {"cat": cats}}))


def revision(requests: int = 0, **replicas: ProcessCounts | None) -> RevisionCounts:
    return RevisionCounts(gateway=Counts(requests=requests, latency={90: requests}), replicas=replicas)


def test_replicas_tell_latency_and_predictions_and_the_gateway_the_rest() -> None:
    found = between(revision(30, a=process(1, 12)), revision(20, a=process(1, 5)), 10.0, fine=True)
    assert found == Counts(requests=10, latency={FAST: 7}, outputs={"y": {"cat": 7}})
    assert between(revision(30), revision(20), 10.0, fine=False).latency == {90: 10}


def test_one_that_did_not_answer_is_counted_when_it_does() -> None:
    first = revision(10, a=process(1, 10))
    silent = carried(revision(20, a=None), first)
    assert between(revision(20, a=None), first, 10.0, fine=True).latency == {}
    assert between(revision(30, a=process(1, 30)), silent, 11.0, fine=True).latency == {FAST: 20}


def test_a_process_that_started_since_counts_whole_and_one_from_before_from_now_on() -> None:
    new, old = process(12.0, 4), process(3.0, 400)
    found = between(revision(5, new=new, old=old), revision(), 10.0, fine=True)
    assert found.outputs == {"y": {"cat": 4}}
    after = carried(revision(5, new=new, old=old), revision())
    assert between(revision(9, old=process(3.0, 403)), after, 11.0, fine=True).outputs == {"y": {"cat": 3}}


def test_a_process_that_is_gone_is_forgotten() -> None:
    assert carried(revision(1, b=process(2, 1)), revision(1, a=process(1, 1))).replicas.keys() == {"b"}


@pytest.mark.parametrize("fine", [True, False])
def test_history_is_of_one_kind(fine: bool) -> None:
    found = history(revision(7, a=process(1, 5), b=None), fine=fine)
    assert (found.requests, found.latency) == (7, {FAST: 5} if fine else {90: 7})


def grown(candidate: ProcessCounts, stable: ProcessCounts, turn: int) -> Reading:
    arms = [revision(turn * 50, c=candidate), revision(turn * 950, s=stable)]
    return Reading(now=100.0 + turn, candidate=arms[0], stable=arms[1])


def judged(turns: int, category: str, latency: int) -> Evidence:
    """A candidate that answers, and takes as long, as told, seen every second."""
    found = learn(
        Reading(now=100.0, candidate=revision(), stable=revision(950, s=process(1, 950))), Evidence(), Guard()
    )
    for turn in range(1, turns):
        n = 50 * turn
        new = ProcessCounts(100.5, Counts(requests=n, latency={latency: n}, outputs={"y": {category: n}}))
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


async def test_a_replica_that_is_not_there_has_no_counts(tmp_path: Any) -> None:
    nobody = Replica(
        id="r", endpoint="e", revision="v", phase="ready", http=Address(path=str(tmp_path / "no")), started=1.0
    )
    assert await feed.read(nobody) is None
