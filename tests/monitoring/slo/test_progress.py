"""From counts to verdicts, without a platform."""

import msgspec
import pytest

from argosy.gateway.clusters import WAITING
from argosy.monitoring.slo.monitor import Budgets, counted, spent, step, wrong
from argosy.serving.counts import Counts, bucket
from argosy.spec.slo import Slo
from argosy.telemetry.counters import ProcessCounts, RevisionCounts

NINES = Slo(objective=0.99)
FAST = Slo(name="latency", objective=0.95, latency=0.1)


def arm(requests=0, errors=0, took=(), started=0.0, process="a/1"):
    """As the gateway counts it, and one process of a replica, whose answers took so many seconds."""
    latency: dict[int, int] = {}
    for seconds in took:
        latency[bucket(seconds)] = latency.get(bucket(seconds), 0) + 1
    told = ProcessCounts(started, Counts(requests=requests, errors=errors, latency=latency, outputs={"y": {"1": 3}}))
    return RevisionCounts(gateway=Counts(requests=requests, errors=errors, latency=latency), replicas={process: told})


def run(*looks, slos=(NINES,), copies=lambda at: (), course=None, now=1000.0):
    """Looks at arms, 5 s apart; the last verdicts and course."""
    course, found = course or Budgets(), ()
    for at, arms in enumerate(looks):
        found, course = step(course, slos, arms, copies(at), now + 5 * at, 5.0)
    return {each.name: each for each in found}, course


def totals(course, name="availability"):
    slots = course.kept[name].state.traffic.slots
    return sum(slot.total for slot in slots), sum(slot.bad for slot in slots)


def test_only_what_comes_after_the_first_look_counts():
    _, course = run({"r1": arm(1000, 900)}, {"r1": arm(1010, 901)}, {"r1": arm(1030, 901)})
    assert totals(course) == (30, 1)


def test_a_failure_that_never_reached_a_replica_is_bad():
    without = RevisionCounts(gateway=Counts(requests=20, errors=20))
    verdicts, course = run({}, {"r1": without})
    assert totals(course) == (20, 20)
    assert verdicts["availability"].severity == "page"


def test_revisions_and_the_waiting_room_count_together_and_copies_do_not():
    looks = [{}, {"r1": arm(10), "r2": arm(5, 5), WAITING: arm(3, 1)}]
    assert totals(run(*looks)[1]) == (18, 6)
    assert totals(run(*looks, copies=lambda at: {"r2"})[1]) == (13, 1)
    later = {"r1": arm(10), "r2": arm(9, 9), WAITING: arm(3, 1)}
    _, course = run(*looks, later, later | {"r2": arm(10, 9)}, copies=lambda at: {"r2"} if at < 2 else ())
    assert totals(course) == (14, 1)


def test_late_is_what_replicas_say_and_what_waited_for_one():
    slow = arm(4, 0, [0.01, 0.2, 0.3, 0.02])
    _, course = run({"r1": arm()}, {"r1": slow, WAITING: arm(2, 0, [5.0, 0.05])}, slos=(FAST, NINES))
    assert totals(course, "latency") == (6, 3)
    assert totals(course) == (6, 0)


def test_a_gateway_and_a_replica_that_began_anew_tell_nothing_wrong():
    first, again = arm(1000, 10, [0.2] * 50), arm(10, 1, [0.2] * 2, started=1007.0, process="a/2")
    _, course = run({"r1": arm()}, {"r1": first}, {"r1": again}, slos=(FAST,))
    assert totals(course, "latency") == (1000, 60)
    _, course = run(
        {"r1": again}, {"r1": arm(14, 1, [0.2] * 3, process="a/2")}, course=course, slos=(FAST,), now=1020.0
    )
    assert totals(course, "latency") == (1004 - 0, 61)


def test_another_objective_keeps_the_traffic_and_another_latency_does_not():
    _, course = run({}, {"r1": arm(20, 20)}, slos=(NINES, FAST))
    _, changed = run({"r1": arm(20, 20)}, course=course, slos=(Slo(objective=0.9), Slo(name="latency", latency=0.5)))
    assert totals(changed) == (20, 20)
    assert changed.kept["availability"].state.found == ()
    assert totals(changed, "latency") == (0, 0)
    assert run({}, course=course, slos=(FAST,))[1].kept.keys() == {"latency"}


def test_it_is_plain_data_without_predictions():
    _, course = run({}, {"r1": arm(20, 1, [0.1])})
    text = msgspec.json.encode(course)
    assert msgspec.json.decode(text, type=Budgets) == course
    assert b"outputs" in text
    assert b'"y"' not in text
    _, again = run({"r1": arm(25, 1, [0.1])}, course=msgspec.json.decode(text, type=Budgets))
    assert totals(again) == (25, 1)


def test_what_is_told():
    verdicts, _ = run({}, {"r1": arm(40, 30)})
    stands = verdicts["availability"]
    assert (stands.name, stands.severity, stands.budget) == ("availability", "page", pytest.approx(1 - 30 / 0.4))
    (finding,) = wrong("digits", [stands])
    assert (finding.key, finding.severity) == ("digits/slo/availability", "page")
    assert "30 of the last 40 requests were bad" in finding.reason
    assert "99% have to be good; the budget of 30 days is spent 75.0 times over" in finding.reason
    verdicts, _ = run({}, {"r1": arm(40)})
    assert wrong("digits", [*verdicts.values()]) == []
    assert spent(0.25, 7.0) == "25% of the budget of 7 days is left"


def test_nothing_is_counted_before_the_first_look():
    assert counted(Budgets(), {"r1": arm(5)}, ()) == Counts()
