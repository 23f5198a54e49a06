"""What the guard learns from counters that only grow, through restarts of whoever counts or asks."""

import math

import msgspec
import pytest

from argosy.control.rollout.evidence import Evidence, Reading, comparison_alpha, learn
from argosy.gateway.traffic import Bin, Traffic
from argosy.monitoring.analysis.agreement import Joined
from argosy.serving.answers import Output, RecordedAnswer
from argosy.serving.counts import Counts, Work
from argosy.spec.guard import FIRST_TOKEN, TOKEN, Guard, Threshold
from argosy.spec.rollout import Shadow
from argosy.telemetry.counters import ProcessCounts, RevisionCounts, counts

GUARD = Guard(min_requests=10)


def reading(now: float, candidate: tuple[int, int], stable: tuple[int, int]) -> Reading:
    arms = [RevisionCounts(gateway=Counts(requests=n, errors=k, latency={50: n - k})) for n, k in (candidate, stable)]
    return Reading(now=now, candidate=arms[0], stable=arms[1])


def test_the_gateways_counters_become_the_guards():
    found = counts(Traffic(completed=10, errors=1, grpc_failures=2, latency=(Bin(4.0, 0.5, 7),)))
    assert (found.requests, found.errors, sum(found.latency.values())) == (10, 3, 7)


def test_latencies_too_short_for_whole_milliseconds_are_all_the_same():
    fast = counts(Traffic(completed=3, latency=(Bin(0.0, 0.1, 1), Bin(1.0, 0.1, 1), Bin(4.0, 0.1, 1))))
    assert list(fast.latency.values()) == [3]


def test_only_what_happened_since_the_first_look_counts():
    seen = learn(reading(1.0, (100, 100), (500, 0)), Evidence(), GUARD)
    assert (seen.exposed, seen.state.past.requests) == (0, 500)
    seen = learn(reading(2.0, (110, 100), (600, 0)), seen, GUARD)
    assert (seen.exposed, seen.state.candidate.errors, seen.state.stable.requests) == (10, 0, 100)


def test_errors_of_the_candidate_alarm_and_a_restart_goes_on_with_the_evidence():
    seen = learn(reading(1.0, (0, 0), (1000, 0)), Evidence(), GUARD)
    for turn in range(1, 5):
        seen = learn(reading(1.0 + turn, (5 * turn, turn), (1000 + 95 * turn, 0)), seen, GUARD)
        again = msgspec.json.decode(msgspec.json.encode(seen), type=Evidence)
        assert again == seen, "as it was written, so it is read"
        seen = again
    assert seen.verdict == "rollback"
    assert "errors got worse" in seen.reason


def test_a_gateway_that_starts_anew_is_no_evidence():
    seen = learn(reading(1.0, (100, 0), (1000, 0)), Evidence(), GUARD)
    seen = learn(reading(2.0, (105, 0), (1100, 0)), seen, GUARD)
    seen = learn(reading(3.0, (3, 3), (60, 0)), seen, GUARD)
    assert (seen.exposed, seen.state.candidate.errors) == (5, 0)
    seen = learn(reading(4.0, (4, 3), (160, 0)), seen, GUARD)
    assert (seen.exposed, seen.state.candidate.errors) == (6, 0)


def shadowing(now: float, answers: int, wrong: int, seen: int) -> Reading:
    joined = Joined(pairs=tuple((pair(n), pair(n, wrong=n < wrong)) for n in range(answers)))
    return msgspec.structs.replace(reading(now, (seen, 0), (1000 + seen, 0)), joined=joined, spent=now)


def pair(n: int, *, wrong: bool = False) -> RecordedAnswer:
    return RecordedAnswer(f"id-{n}", "ok", 2_000_000, (Output("y", "INT64", (1,), int(wrong).to_bytes(8, "little")),))


@pytest.mark.parametrize("declared", [None, GUARD])
def test_copies_in_the_shadow_are_compared_and_are_nobodys_answers(declared: Guard | None):
    shadow = Shadow(requests=60)
    seen = learn(shadowing(1.0, 0, 0, 0), Evidence(), declared, shadow)
    seen = learn(shadowing(2.0, 50, 0, 50), seen, declared, shadow)
    assert (seen.exposed, seen.compared.verdict) == (0, "hold")
    seen = learn(shadowing(3.0, 50, 0, 100), seen, declared, shadow)
    assert (seen.exposed, seen.compared.verdict, seen.state.candidate.requests) == (0, "advance", 100)
    assert msgspec.json.decode(msgspec.json.encode(seen), type=Evidence) == seen
    seen = learn(reading(4.0, (105, 0), (1200, 0)), seen, declared, shadow)
    assert seen.exposed == 0, "copies that came before the gateway had the next route"
    seen = learn(reading(5.0, (112, 0), (1300, 0)), seen, declared, shadow)
    assert seen.exposed == 7


@pytest.mark.parametrize("declared", [None, GUARD])
def test_answers_that_differ_are_a_verdict_and_too_few_are_none(declared: Guard | None):
    seen = learn(shadowing(1.0, 0, 0, 0), Evidence(), declared, Shadow())
    bad = learn(shadowing(2.0, 40, 20, 40), seen, declared, Shadow())
    assert bad.compared.verdict == "rollback"
    for second in range(14):
        seen = learn(shadowing(6.0 + 5 * second, 0, 0, 0), seen, declared, Shadow())
    assert (seen.compared.verdict, seen.shadow and seen.shadow.silent) == ("pause", 70.0)
    assert "no data" in seen.compared.reason


def test_guard_and_comparison_keep_to_the_guards_alpha_together():
    seen = learn(shadowing(1.0, 0, 0, 0), Evidence(), GUARD, Shadow())
    seen = learn(shadowing(2.0, 10, 0, 10), seen, GUARD, Shadow())
    assert comparison_alpha(GUARD) + math.exp(-seen.limit) == pytest.approx(GUARD.alpha)


def test_without_a_guard_requests_are_counted():
    seen = learn(reading(1.0, (0, 0), (0, 0)), Evidence(), None)
    seen = learn(reading(2.0, (7, 1), (0, 0)), seen, None)
    assert (seen.exposed, seen.verdict) == (7, "hold")


def test_silence_pauses_and_says_so():
    seen = learn(reading(1.0, (0, 0), (1000, 0)), Evidence(), GUARD)
    for second in range(14):
        seen = learn(reading(6.0 + 5 * second, (0, 0), (1000, 0)), seen, GUARD)
    assert seen.verdict == "pause"
    assert "no data" in seen.reason


NO_PROMPTS = ((0, 0), (0, 0))


@pytest.mark.parametrize("guard", [GUARD, None], ids=["guarded", "free"])
def test_shares_of_prompts_in_caches_are_those_of_late(guard: Guard | None):
    def look(now: float, mine: tuple[int, int], theirs: tuple[int, int]) -> Reading:
        nothing = RevisionCounts()
        return Reading(now=now, candidate=nothing, stable=nothing, prompts=(mine, theirs))

    def shares(seen: Evidence) -> tuple[float, float]:
        assert seen.prompts is not None
        return seen.prompts[0].cached, seen.prompts[1].cached

    seen = learn(look(1.0, (500, 400), (9000, 0)), Evidence(), guard)
    assert shares(seen) == (0, 0), "what was before does not count"
    seen = learn(look(2.0, (600, 410), (9100, 80)), seen, guard)
    assert shares(seen) == (0.1, 0.8)
    for second in range(100):
        seen = learn(look(6.0 + 5 * second, (600 + 100 * second, 410 + 90 * second), (9100, 80)), seen, guard)
    assert shares(seen)[0] > 0.89
    assert shares(seen)[1] == pytest.approx(0.8)
    assert msgspec.json.decode(msgspec.json.encode(seen), type=Evidence) == seen
    anew = learn(look(600.0, (100, 0), (9100, 80)), seen, guard)
    assert 0 < shares(anew)[0] < shares(seen)[0]


def test_times_of_streams_are_those_since_the_first_look():
    def look(now: float, mine: int, theirs: int) -> Reading:
        arms = (Counts(requests=n, times={FIRST_TOKEN: {40: n}, TOKEN: {20: n}}) for n in (mine, theirs))
        candidate, stable = (RevisionCounts(gateway=each) for each in arms)
        return Reading(now=now, candidate=candidate, stable=stable, prompts=NO_PROMPTS)

    seen = learn(look(1.0, 3, 500), Evidence(), GUARD)
    assert (seen.state.timed, seen.state.past.timed(TOKEN)) == ((FIRST_TOKEN, TOKEN), {20: 500})
    seen = learn(look(2.0, 13, 600), seen, GUARD)
    assert (seen.state.candidate.times, seen.state.stable.timed(TOKEN)) == (
        {FIRST_TOKEN: {40: 10}, TOKEN: {20: 10}},
        {20: 100},
    )
    assert "time to first token" in seen.reason
    assert msgspec.json.decode(msgspec.json.encode(seen), type=Evidence) == seen
    assert learn(reading(1.0, (0, 0), (9, 0)), Evidence(), GUARD).state.timed == ("latency",)


def test_finish_reasons_of_a_language_model_are_compared_as_predictions_are():
    def look(now: float, n: int, reason: str) -> Reading:
        mine, theirs = (
            RevisionCounts(gateway=Counts(requests=n, outputs={"finish_reason": {each: n}}))
            for each in (reason, "stop")
        )
        return Reading(now=now, candidate=mine, stable=theirs, prompts=NO_PROMPTS)

    seen = learn(look(1.0, 500, "stop"), Evidence(), GUARD)
    assert seen.state.outputs == ("finish_reason",)
    for at in range(30):
        seen = learn(look(2.0 + at, 500 + 10 * at, "length"), seen, GUARD)
    assert seen.reason.startswith("predictions of 'finish_reason' changed: ")


def test_a_candidate_whose_requests_cost_more_is_rolled_back():
    bound = Guard(min_requests=10, thresholds=(Threshold(metric="cost", above=1.5, after=20),))

    def turn(now: float, seconds: tuple[float, float], begun: float = 0.0) -> Reading:
        found = reading(now, (int(10 * now), 0), (int(100 * now), 0))
        works = [Work(engine=each, answered=int(now)) for each in seconds]
        replicas = [{f"r/{begun}": ProcessCounts(begun, Counts(), work)} for work in works]
        arms = [
            msgspec.structs.replace(arm, replicas=each)
            for arm, each in zip((found.candidate, found.stable), replicas, strict=True)
        ]
        return msgspec.structs.replace(found, candidate=arms[0], stable=arms[1], prices=(2.0, 1.0))

    seen = learn(turn(1.0, (5.0, 5.0)), Evidence(), bound)
    seen = learn(turn(2.0, (5.6, 10.0)), seen, bound)
    assert (seen.verdict, seen.spent) == ("hold", (pytest.approx(1.2), 5.0))
    again = msgspec.json.decode(msgspec.json.encode(seen), type=Evidence)
    dear = learn(turn(3.0, (6.6, 15.0)), again, bound)
    assert (dear.verdict, dear.spent) == ("rollback", (pytest.approx(3.2), 10.0))
    assert "a request costs 3.2 × the stable's" in dear.reason
    assert learn(turn(4.0, (6.6, 90.0)), dear, bound).verdict == "rollback", "it stays one"
    fresh = learn(turn(3.0, (9.0, 9.0), begun=2.5), seen, bound)
    assert fresh.spent == (pytest.approx(19.2), 14.0), "what began since the last reading counts whole"
