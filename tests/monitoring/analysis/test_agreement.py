"""Two arms' answers: what counts as equal, and that the judgement may be watched at every moment."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.monitoring.analysis.agreement import Joined, Tally, compare, decide, log_evidence, tally
from argosy.serving.answers import Output, RecordedAnswer
from argosy.spec.rollout import Shadow
from argosy.spec.tensor import NUMPY

numbers = st.floats(-1e6, 1e6) | st.sampled_from([math.inf, -math.inf, math.nan])


def output(*data: object, datatype: str = "FP64", shape: tuple[int, ...] | None = None, name: str = "y") -> Output:
    kept = [*data] if datatype == "BYTES" else np.array(data, NUMPY[datatype]).tobytes()
    return Output(name, datatype, shape or (len(data),), kept)  # pyright: ignore


def answer(id: str, *data: object, code: str = "ok", ns: int = 2_000_000) -> RecordedAnswer:
    return RecordedAnswer(id, code, ns, (output(*data),) if data else None)


@given(st.lists(numbers, max_size=8), st.sampled_from([0.0, 1e-3]))
def test_an_answer_equals_itself(data: list[object], tolerance: float):
    found = compare(output(*data), output(*data), tolerance)
    assert not found.disagreed
    assert found.largest == 0


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8), st.lists(st.floats(-1e6, 1e6), min_size=8, max_size=8))
def test_the_comparison_is_symmetric_and_counts_every_number(a: list[float], b: list[float]):
    one, other = output(*a), output(*b[: len(a)])
    assert compare(one, other, 1e-3) == compare(other, one, 1e-3)
    assert compare(one, other, 1e-3).numbers == len(a)


@pytest.mark.parametrize(
    ("a", "b", "agrees"),
    [
        (output(1.0, 2.0), output(1.0005, 2.0), True),
        (output(1.0, 2.0), output(1.01, 2.0), False),
        (output(math.nan), output(math.nan), True),
        (output(math.nan), output(1.0), False),
        (output(math.inf), output(-math.inf), False),
        (output(0.0), output(1e-12), True),
        (output(0.999, 1e-5, shape=(1, 2)), output(0.9991, 2e-5, shape=(1, 2)), True),
        (output(1e6, 1.0, shape=(2, 1)), output(1e6, 1.1, shape=(2, 1)), False),
        (output(1.0, 2.0), output(1.0, 2.0, shape=(2, 1)), False),
        (output(b"cat", datatype="BYTES"), output(b"cat", datatype="BYTES"), True),
        (output(b"cat", datatype="BYTES"), output(b"dog", datatype="BYTES"), False),
        (output(10_000, datatype="INT64"), output(10_001, datatype="INT64"), False),
        (output(1, datatype="INT64"), output(1, datatype="INT32"), False),
        (output(0x3F80, datatype="BF16"), output(0x3F81, datatype="BF16"), False),
        (output(0x3F80, datatype="BF16"), output(0x3F80, datatype="BF16"), True),
        (output(shape=(0, 3)), output(shape=(0, 3)), True),
    ],
)
def test_labels_are_equal_and_numbers_within_the_tolerance(a: Output, b: Output, agrees: bool):
    assert (compare(a, b, 1e-3).disagreed == 0) is agrees


def test_errors_on_one_side_only_are_told_apart():
    pairs = (
        (answer("1", 1.0), answer("1", 1.0)),
        (answer("2", 1.0), answer("2", 3.0)),
        (answer("3", 1.0), answer("3", code="internal")),
        (answer("4", code="internal"), answer("4", 1.0)),
        (answer("5", code="internal"), answer("5", code="internal")),
        (answer("6"), answer("6")),
    )
    found = tally(Tally(silent=9.0), Joined(pairs=pairs, unmatched=(2, 1), repeated=1), 1e-3, 1.0)
    assert (found.compared, found.disagreed, found.candidate_failed, found.stable_failed) == (3, 2, 1, 2)
    assert found.large == 1
    assert (found.unmatched, found.repeated, found.silent) == ((2, 1), 1, 0.0)
    assert found.examples == (("2", "output 'y'"), ("3", "error: internal"))
    assert (found.outputs["y"].compared, found.outputs["y"].disagreed) == (2, 1)
    assert found.outputs["y"].largest == pytest.approx(2 / 3)
    assert [sum(each.values()) for each in found.latency] == [2, 2]
    assert tally(found, Joined(), 1e-3, 2.0).silent == 2.0


def test_other_outputs_disagree():
    pair = (answer("1", 1.0), RecordedAnswer("1", "ok", 1, (output(1.0, name="z"),)))
    assert tally(Tally(), Joined(pairs=(pair,)), 1e-3, 1.0).disagreed == 1


@given(st.integers(1, 60), st.sampled_from([0.5, 0.9, 0.99]), st.floats(0, 1))
def test_the_mean_of_the_evidence_is_at_most_one_for_who_agrees_often_enough(n: int, agreement: float, part: float):
    rate = (1 - agreement) * part
    mean = sum(
        math.comb(n, k) * rate**k * (1 - rate) ** (n - k) * math.exp(log_evidence(k, n, agreement))
        for k in range(n + 1)
    )
    assert mean <= 1 + 1e-9


@pytest.mark.slow
def test_watched_at_every_pair_few_that_just_agree_are_rolled_back_and_five_percent_soon_are():
    rng = np.random.default_rng(7)
    bad = {0.01: 0, 0.05: 0}
    for rate in bad:
        for _ in range(200):
            wrong = np.cumsum(rng.random(600) < rate)
            bad[rate] += any(log_evidence(int(k), n, 0.99) >= math.log(100) for n, k in enumerate(wrong, 1))
    assert bad[0.01] <= 6
    assert bad[0.05] >= 190


SHADOW = Shadow(requests=100, seconds=5.0)


@pytest.mark.parametrize(
    ("found", "spent", "verdict", "reason"),
    [
        (Tally(), 0.0, "hold", "0 of 100"),
        (Tally(silent=61.0), 61.0, "pause", "no data"),
        (Tally(compared=100), 4.0, "hold", "4 of 5 s"),
        (Tally(compared=100), 5.0, "advance", "100.00% of 100"),
        (Tally(compared=100, disagreed=2), 9.0, "hold", "no proof yet"),
        (Tally(compared=50, disagreed=20), 1.0, "rollback", "surely fewer than 99.00%"),
        (Tally(compared=50, disagreed=20, silent=99.0), 1.0, "rollback", "surely fewer than 99.00%"),
    ],
)
def test_verdicts(found: Tally, spent: float, verdict: str, reason: str):
    judged = decide(SHADOW, found, spent, 0.01, 60.0)
    assert judged.verdict == verdict
    assert reason in judged.reason


def test_where_all_must_agree_one_that_does_not_is_enough():
    assert decide(Shadow(agreement=1.0), Tally(compared=1000, disagreed=1), 1.0, 0.01, 60.0).verdict == "rollback"
