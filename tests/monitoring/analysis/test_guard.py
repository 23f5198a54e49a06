import math
from collections import Counter
from typing import Any

import msgspec
import numpy as np
import pytest

from argosy.monitoring.analysis import evidence
from argosy.monitoring.analysis.guard import Decision, GuardObservation, GuardState, dearer, decide
from argosy.serving.counts import Counts, bucket
from argosy.spec.guard import FIRST_TOKEN, LONGER, REFUSALS, SHORTER, SPEED, TOKEN, Guard, Metric, Threshold
from argosy.telemetry.counters import add

RNG = np.random.default_rng(7)
WIDE = Guard(margin=0.05)


def served(n: int, errors: float = 0.005, factor: float = 1.0, classes: int = 4, rng: Any = RNG) -> Counts:
    k = int(rng.binomial(n, errors))
    latency: dict[int, int] = {}
    for x in factor * 0.05 * np.exp(0.6 * rng.standard_normal(n - k)):
        latency[bucket(float(x))] = latency.get(bucket(float(x)), 0) + 1
    labels: dict[str, int] = {}
    for label in rng.integers(0, classes, n - k):
        labels[str(label)] = labels.get(str(label), 0) + 1
    return Counts(requests=n, errors=k, latency=latency, outputs={"label": labels})


def begin(guard: Guard) -> GuardState:
    return evidence.start(("label",), served(5000, rng=np.random.default_rng(1)))


def run(guard: Guard, looks: int, stop: str = "", seed: int = 3, **candidate: Any) -> tuple[Decision, GuardState]:
    rng, state, decision = np.random.default_rng(seed), begin(guard), None
    for _ in range(looks):
        seen = GuardObservation(seconds=1, candidate=served(5, rng=rng, **candidate), stable=served(95, rng=rng))
        decision, state = decide(guard, seen, state)
        if decision.verdict == stop:
            break
    assert decision is not None
    return decision, state


def look(
    guard: Guard, state: GuardState, n: int = 5, seconds: float = 1, **metrics: Any
) -> tuple[Decision, GuardState]:
    seen = GuardObservation(seconds=seconds, candidate=served(n), stable=served(95), metrics=metrics)
    return decide(guard, seen, state)


@pytest.mark.parametrize(
    ("candidate", "looks", "words"),
    [
        ({"errors": 0.2}, 40, "errors got worse"),
        ({"factor": 2.0}, 60, "latency got worse"),
        ({"classes": 1}, 60, "predictions of 'label' changed"),
    ],
)
def test_harm_is_rolled_back_and_named(candidate: dict[str, Any], looks: int, words: str):
    decision, state = run(Guard(), looks, "rollback", **candidate)
    assert decision.verdict == "rollback"
    assert decision.reason.startswith(words)
    assert decision.log_e >= decision.limit
    assert state.alarm == decision.reason


def test_a_rollback_is_final():
    decision, state = run(Guard(), 40, "rollback", errors=0.5)
    for _ in range(30):
        again, state = look(Guard(), state)
    assert (again.verdict, again.reason) == ("rollback", decision.reason)


def test_a_better_candidate_is_never_alarming():
    decision, _ = run(Guard(), 150, errors=0.0, factor=0.7)
    assert decision.verdict in ("hold", "advance")
    assert decision.log_e < 1


def test_only_proof_advances():
    early, state = run(Guard(), 100)
    assert early.verdict == "hold"
    assert early.reason.startswith("not proven yet at 99%: errors at most 0.50% above the stable's")
    wide, state = run(Guard(margin=0.05, latency_margin=1.5), 300, "advance")
    assert wide.verdict == "advance"
    assert "p95 latency at most 1.5 × the stable's" in wide.reason
    assert len(state.proven) == 3


def test_what_was_proven_must_still_hold():
    _, state = run(Guard(margin=0.05, latency_margin=1.5), 300, "advance")
    worse = msgspec.structs.replace(state, candidate=Counts(requests=1000, errors=80), stable=Counts(requests=9000))
    decision, _ = look(Guard(margin=0.05, latency_margin=1.5), worse)
    assert decision.reason.startswith("proven earlier, but errors are now")


def test_few_requests_hold():
    decision, _ = run(Guard(min_requests=50), 3)
    assert decision.reason == "too few requests: the candidate has served 15 of at least 50"


def test_no_data_holds_then_pauses_and_resumes():
    guard, state = Guard(patience=30), begin(Guard())
    decision, state = look(guard, state, n=0)
    assert (decision.verdict, decision.reason) == ("hold", "no data: the candidate has served no request yet")
    decision, state = look(guard, state, n=0, seconds=40)
    assert (decision.verdict, decision.reason) == ("pause", "no data: the candidate has served no request for 41 s")
    assert look(guard, state)[0].verdict == "hold"


def test_silence_pauses_even_after_proof():
    guard = Guard(margin=0.05, latency_margin=1.5)
    _, state = run(guard, 300, "advance")
    assert look(guard, state, n=0, seconds=90)[0].verdict == "pause"


def test_a_stable_that_serves_nothing_is_no_comparison():
    seen = GuardObservation(seconds=1, candidate=served(500, errors=1.0))
    decision, state = decide(Guard(), seen, evidence.start())
    assert decision.reason == "no data: the stable revision has served no request to compare with"
    assert state.waiting[0].requests == 500


def test_a_metric_must_arrive_and_go_on_arriving():
    guard = Guard(metrics=(Metric(name="score", query="q_$revision", low=0, high=1),), patience=30)
    decision, state = look(guard, begin(guard), n=200)
    assert decision.reason == "no data: the metric 'score' has not arrived yet"
    assert look(guard, state, seconds=40)[0].reason == "no data: the metric 'score' has not arrived in 41 s"
    decision, state = look(guard, state, score=(0.5, 0.5))
    assert decision.reason.startswith("not proven yet")
    decision, _ = look(guard, state, seconds=31, score=(math.nan, 0.5))
    assert (decision.verdict, decision.reason) == ("pause", "no data: the metric 'score' stopped arriving 31 s ago")


@pytest.mark.parametrize("bounds", [{"low": 0.0, "high": 1.0}, {}])
def test_a_worse_metric_is_rolled_back(bounds: dict[str, float]):
    guard = Guard(metrics=(Metric(name="score", query="q_$revision", worse="lower", **bounds),))
    state, rng = begin(guard), np.random.default_rng(5)
    for _ in range(300):
        decision, state = look(guard, state, score=(0.3 * rng.random(), 0.6 + 0.4 * rng.random()))
        if decision.verdict == "rollback":
            break
    assert decision.reason.startswith("metric 'score' got worse: 0.1")


def test_fixed_thresholds():
    errors = Guard(thresholds=(Threshold(metric="error_rate", above=0.5, after=20),))
    state = begin(errors)
    assert (
        decide(errors, GuardObservation(seconds=1, candidate=Counts(requests=19, errors=19)), state)[0].verdict
        == "hold"
    )
    decision, _ = decide(errors, GuardObservation(seconds=1, candidate=Counts(requests=20, errors=20)), state)
    assert decision.reason == "error rate 100.00% is above the threshold of 50.00% after 20 requests"
    slow = Guard(thresholds=(Threshold(metric="latency", above=1.0, quantile=0.5, after=10),))
    seen = GuardObservation(seconds=1, candidate=Counts(requests=10, latency={bucket(2.0): 10}))
    assert decide(slow, seen, state)[0].reason.startswith(
        "p50 latency 2 s is above the threshold of 1 s after 10 requests"
    )


def test_the_state_survives_being_stored():
    _, state = run(Guard(), 50)
    again = msgspec.json.decode(msgspec.json.encode(state), type=GuardState)
    seen = GuardObservation(seconds=1, candidate=served(5), stable=served(95))
    assert decide(Guard(), seen, again) == decide(Guard(), seen, state)


def test_order_inside_a_tick_does_not_matter():
    parts = [served(5, errors=0.2) for _ in range(4)]
    state, stable = begin(Guard()), served(95)
    one, other = (
        decide(Guard(), GuardObservation(seconds=1, candidate=add(order), stable=stable), state)[0].log_e
        for order in (parts, parts[::-1])
    )
    assert one == other


def test_a_tolerated_factor_of_latency_is_no_harm():
    decision, _ = run(Guard(latency_tolerance=1.6, latency_margin=2.0), 200, "rollback", factor=1.25)
    assert decision.verdict != "rollback"


@pytest.mark.slow
def test_what_twin_processes_differ_by_is_no_harm_and_more_is():
    decision, state = run(Guard(), 400, "rollback", factor=1.045)
    assert (decision.verdict != "rollback", state.candidate.requests) == (True, 2000)
    decision, state = run(Guard(), 400, "rollback", seed=4, factor=1.25)
    assert "latency got worse" in decision.reason
    assert state.candidate.requests < 600


def spoken(
    n: int,
    rng: Any,
    *,
    first: float = 1.0,
    each: float = 1.0,
    length: float = 1.0,
    refused: float = 0.01,
    cut: float = 0.1,
) -> Counts:
    """What a language model answered: its times, lengths, refusals and finish reasons."""
    times: dict[str, dict[int, int]] = {}
    medians = {FIRST_TOKEN: 0.3 * first, TOKEN: 0.02 * each, SPEED: 0.025 * each, LONGER: 0.2 * length}
    for name, median in medians.items():
        at = [bucket(float(x)) for x in median * np.exp(0.3 * rng.standard_normal(n))]
        times[name] = dict(Counter(at))
    bad, ends = int(rng.binomial(n, refused)), int(rng.binomial(n, cut))
    times[REFUSALS] = {0: n - bad, 1: bad}
    return Counts(requests=n, times=times, outputs={"finish_reason": {"stop": n - ends, "length": ends}})


def speak(
    looks: int,
    stop: str = "",
    late: int = 1,
    guard: Guard = WIDE,
    seed: int = 5,
    size: int = 1,
    **candidate: float,
) -> tuple[Decision, GuardState]:
    """A rollout of a language model; of the candidate one look in `late` has times, those of all looks since."""
    rng, decision = np.random.default_rng(seed), None
    state = evidence.start(("finish_reason",), spoken(5000, rng), guard.of_language)
    for at in range(1, looks + 1):
        mine = spoken(5 * size * late, rng, **candidate) if at % late == 0 else Counts()
        mine = msgspec.structs.replace(mine, requests=5 * size)
        seen = GuardObservation(seconds=1, candidate=mine, stable=spoken(95 * size, rng))
        decision, state = decide(guard, seen, state)
        if decision.verdict == stop:
            break
    assert decision is not None
    return decision, state


@pytest.mark.parametrize("late", [1, 7])
@pytest.mark.parametrize(
    ("candidate", "words"),
    [({"first": 1.5}, "time to first token got worse: p95"), ({"each": 1.5}, "time per token got worse: p95")],
    ids=["first", "each"],
)
def test_a_language_model_is_judged_by_its_tokens(candidate: dict[str, float], words: str, late: int):
    decision, _ = speak(100, "rollback", late, **candidate)
    assert decision.reason.startswith(words)


def test_a_language_model_as_fast_as_before_is_proven_to_be():
    early, _ = speak(20)
    assert "p95 time to first token at most 1.25 × the stable's" in early.reason
    decision, state = speak(400, "advance", 3)
    assert decision.verdict == "advance"
    assert "p50 time per token at most 1.25 × the stable's" in decision.reason
    assert [each.metric for each in decision.findings] == ["errors", FIRST_TOKEN, TOKEN, "output:finish_reason"]
    assert sum(evidence.weights(Guard(), state).values()) == pytest.approx(1)
    assert sum(state.past.timed(TOKEN).values()) + sum(state.waiting[1].timed(TOKEN).values()) == 5000 + sum(
        state.stable.timed(TOKEN).values()
    ), "no time is lost, and none counts twice"


WHOLE = Guard(
    margin=0.05, speed_margin=1.25, length_margin=1.25, refusals=("I cannot",), refusal_margin=0.02, min_requests=50
)


@pytest.mark.parametrize(
    ("candidate", "words"),
    [
        ({"each": 1.5}, "tokens a second got worse: p5 "),
        ({"length": 2.0}, "length of answers changed: p95 "),
        ({"length": 0.5}, "length of answers changed: p5 "),
        ({"refused": 0.15}, "refusals got worse: "),
        ({"cut": 0.6}, "predictions of 'finish_reason' changed: "),
    ],
    ids=["slower", "longer", "shorter", "refuses", "cut"],
)
def test_harm_in_what_a_language_model_answers_is_rolled_back(candidate: dict[str, float], words: str):
    decision, state = speak(120, "rollback", guard=WHOLE, **candidate)
    assert decision.reason.startswith(words)
    assert state.timed == (SPEED, LONGER, SHORTER, REFUSALS)


@pytest.mark.slow
def test_harmless_answers_are_left_alone_and_proven():
    """At α = 1 %, and within the margins: 1.1 × the length, a percent more refusals, a few more answers cut off."""
    found = [
        speak(12, "rollback", guard=WHOLE, seed=seed, size=5, length=(1.1, 0.92)[seed % 2], refused=0.02, cut=0.15)[
            0
        ].verdict
        for seed in range(12)
    ]
    assert "rollback" not in found
    decision, state = speak(60, "advance", guard=WHOLE, size=10)
    assert decision.verdict == "advance"
    for claim in (
        "refusals at most 2.00% above the stable's",
        "p5 tokens a second at least the stable's / 1.25",
        "p95 length of answers at most 1.25 × the stable's",
        "p5 length of answers at least the stable's / 1.25",
    ):
        assert claim in decision.reason
    texts = {each.metric: each.text for each in decision.findings}
    assert " tokens (" in texts[LONGER]
    assert texts[SPEED].startswith("p5 2"), "1 / 0.025 s, divided by e^(0.3 × 1.64)"
    worse = Counts(requests=1000, times={REFUSALS: {0: 900, 1: 100}})
    held, _ = decide(WHOLE, GuardObservation(seconds=1), msgspec.structs.replace(state, candidate=worse))
    assert held.reason.startswith("proven earlier, but refusals are now ")


def test_lengths_past_the_margin_are_never_proven():
    for length in (1.4, 0.7):
        decision, _ = speak(15, "advance", guard=WHOLE, size=10, length=length)
        assert decision.verdict != "advance"


@pytest.mark.slow
def test_a_margin_that_is_not_kept_is_never_proven():
    decision, _ = speak(300, "advance", guard=Guard(margin=0.05, token_margin=1.1, latency_tolerance=1.09), each=1.15)
    assert decision.verdict != "advance"


def test_shares_of_evidence_sum_to_one():
    guard = Guard(metrics=(Metric(name="a", query="q_$revision"), Metric(name="b", query="q_$revision")))
    assert sum(evidence.weights(guard, begin(guard)).values()) == pytest.approx(1)
    assert sum(evidence.weights(Guard(), evidence.start()).values()) == pytest.approx(1)


@pytest.mark.slow
def test_healthy_candidates_are_left_alone():
    verdicts = [run(Guard(), 60, "rollback", seed=seed)[0].verdict for seed in range(20)]
    assert verdicts.count("rollback") <= 2


def test_findings_speak_of_every_metric():
    guard = Guard(metrics=(Metric(name="score", query="q_$revision"),))
    decision, _ = look(guard, begin(guard), score=(1.0, 2.0))
    assert [f.metric for f in decision.findings] == ["errors", "latency", "output:label", "metric:score"]
    assert all(f.text for f in decision.findings)


def test_what_a_request_costs_is_compared_with_the_stables():
    bound = Guard(thresholds=(Threshold(metric="cost", above=1.5, after=20),))
    state = begin(bound)
    state = msgspec.structs.replace(state, candidate=Counts(requests=20), stable=Counts(requests=100))
    assert not dearer(bound, state, 3.0, 10.0)
    assert dearer(bound, state, 3.2, 10.0).startswith("a request costs 1.6 × the stable's, above the threshold of 1.5")
    assert not dearer(bound, msgspec.structs.replace(state, candidate=Counts(requests=19)), 30.0, 10.0)
    assert not dearer(Guard(), state, 30.0, 10.0)
