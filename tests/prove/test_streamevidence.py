import numpy as np
import pytest

from argosy.spec.errors import InvalidArgument
from prove.streamevidence import LEARNED, Stream, answers, errors, scores


def first(step, values, run_length: float = 1e5) -> int:
    state = Stream()
    for place, value in enumerate(values):
        state = step(state, value)
        if state.run_length >= run_length:
            return place
    return -1


def test_a_rise_of_errors_is_found_without_being_told_the_baseline():
    rng = np.random.default_rng(0)
    delays = []
    for _ in range(12):
        wrong = rng.random(6000) < np.where(np.arange(6000) < 5000, 0.15, 0.3)
        delays.append(first(errors, wrong.tolist()) - 5000)
    found = [delay for delay in delays if delay > 0]
    assert len(found) >= 10
    assert np.mean(found) <= 160


def test_fewer_errors_are_no_alarm():
    rng = np.random.default_rng(1)
    assert first(errors, (rng.random(8000) < np.where(np.arange(8000) < 3000, 0.3, 0.1)).tolist()) == -1


@pytest.mark.parametrize("kind", ["errors", "answers", "scores"])
def test_evidence_has_a_mean_of_at_most_the_rows_seen(kind):
    rng, rows, ends = np.random.default_rng(2), 300, []
    for _ in range(400):
        step, values = {
            "errors": (errors, rng.random(rows) < 0.2),
            "answers": (answers, rng.beta(4, 1, rows)),
            "scores": (scores, rng.standard_normal(rows)),
        }[kind]
        state = Stream()
        for value in values.tolist():
            state = step(state, value)
        ends.append(min(state.run_length, 1e5))
    assert np.mean(ends) <= 1.5 * rows


def test_a_reversed_concept_is_found_faster_by_answers_than_by_errors():
    rng, delays = np.random.default_rng(3), []
    for _ in range(8):
        p = rng.beta(5, 1, 4000)
        p = np.where(rng.random(4000) < p, p, 1 - p)
        p[3000:] = 1 - p[3000:]
        delays.append((first(answers, p.tolist()) - 3000, first(errors, (p < 0.5).tolist()) - 3000))
    ours, plain = np.mean(delays, axis=0)
    assert 0 < ours <= plain <= 25


@pytest.mark.parametrize("move", [-1.0, 1.0])
def test_scores_move_to_either_side(move):
    rng = np.random.default_rng(4)
    values = np.exp(rng.standard_normal(3000) + np.where(np.arange(3000) < 2000, 0, move))
    values[::50] = np.nan
    assert 0 < first(scores, values.tolist()) - 2000 < 80


def test_constant_scores_say_nothing():
    assert first(scores, [1.0] * (LEARNED + 500), 1e4) == -1


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_what_is_no_probability_is_refused(value):
    with pytest.raises(InvalidArgument, match=r"must lie in \[0, 1\]"):
        answers(Stream(), value)
