"""What the guard learns from counters that only grow, through restarts of whoever counts or asks."""

import msgspec

from argosy.control.evidence import Arm, Evidence, Look, counts, learn
from argosy.gateway.traffic import Bin, Traffic
from argosy.serving.counts import Counts
from argosy.spec.guard import Guard

GUARD = Guard(min_requests=10)


def look(now: float, candidate: tuple[int, int], stable: tuple[int, int]) -> Look:
    arms = [Arm(gateway=Counts(requests=n, errors=k, latency={50: n - k})) for n, k in (candidate, stable)]
    return Look(now=now, candidate=arms[0], stable=arms[1])


def test_the_gateways_counters_become_the_guards():
    found = counts(Traffic(completed=10, errors=1, grpc_failures=2, latency=(Bin(4.0, 0.5, 7),)))
    assert (found.requests, found.errors, sum(found.latency.values())) == (10, 3, 7)


def test_latencies_too_short_for_whole_milliseconds_are_all_the_same():
    fast = counts(Traffic(completed=3, latency=(Bin(0.0, 0.1, 1), Bin(1.0, 0.1, 1), Bin(4.0, 0.1, 1))))
    assert list(fast.latency.values()) == [3]


def test_only_what_happened_since_the_first_look_counts():
    seen = learn(look(1.0, (100, 100), (500, 0)), Evidence(), GUARD)
    assert (seen.exposed, seen.state.past.requests) == (0, 500)
    seen = learn(look(2.0, (110, 100), (600, 0)), seen, GUARD)
    assert (seen.exposed, seen.state.candidate.errors, seen.state.stable.requests) == (10, 0, 100)


def test_errors_of_the_candidate_alarm_and_a_restart_goes_on_with_the_evidence():
    seen = learn(look(1.0, (0, 0), (1000, 0)), Evidence(), GUARD)
    for turn in range(1, 5):
        seen = learn(look(1.0 + turn, (5 * turn, turn), (1000 + 95 * turn, 0)), seen, GUARD)
        again = msgspec.json.decode(msgspec.json.encode(seen), type=Evidence)
        assert again == seen, "as it was written, so it is read"
        seen = again
    assert seen.verdict == "rollback"
    assert "errors got worse" in seen.reason


def test_a_gateway_that_starts_anew_is_no_evidence():
    seen = learn(look(1.0, (100, 0), (1000, 0)), Evidence(), GUARD)
    seen = learn(look(2.0, (105, 0), (1100, 0)), seen, GUARD)
    seen = learn(look(3.0, (3, 3), (60, 0)), seen, GUARD)
    assert (seen.exposed, seen.state.candidate.errors) == (5, 0)
    seen = learn(look(4.0, (4, 3), (160, 0)), seen, GUARD)
    assert (seen.exposed, seen.state.candidate.errors) == (6, 0)


def test_without_a_guard_requests_are_counted():
    seen = learn(look(1.0, (0, 0), (0, 0)), Evidence(), None)
    seen = learn(look(2.0, (7, 1), (0, 0)), seen, None)
    assert (seen.exposed, seen.verdict) == (7, "hold")


def test_silence_pauses_and_says_so():
    seen = learn(look(1.0, (0, 0), (1000, 0)), Evidence(), GUARD)
    for second in range(14):
        seen = learn(look(6.0 + 5 * second, (0, 0), (1000, 0)), seen, GUARD)
    assert seen.verdict == "pause"
    assert "no data" in seen.reason
