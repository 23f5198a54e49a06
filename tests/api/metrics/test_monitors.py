"""Objectives are counted by what came, without copies; a changed objective begins anew."""

from argosy.api.metrics import monitors
from argosy.api.metrics.monitors import Objectives
from argosy.gateway.traffic import Bin, Traffic
from argosy.spec.endpoint import Endpoint
from argosy.spec.recorder import RecorderReport
from argosy.spec.slo import Slo
from argosy.spec.status import EndpointStatus
from argosy.store.alerts import AlertCount
from argosy.store.findings import Tally

CAME = Traffic(
    completed=100, errors=3, grpc_failures=1, latency=(Bin(1.0, 0.1, 60), Bin(190.0, 10.0, 30), Bin(300.0, 10.0, 6))
)


def status(*slos: Slo) -> dict[str, EndpointStatus]:
    endpoint = Endpoint(name="digits", model="digits:1", slos=slos)
    made = EndpointStatus(
        name="digits",
        state="ready",
        model="digits:1",
        version="digits:1",
        digest="",
        revision="r1",
        replicas=1,
        ready=1,
        endpoint=endpoint,
        generation=1,
        created="",
        updated="",
    )
    return {"digits": made}


def counted(objectives: Objectives, endpoints) -> dict[tuple[str, str], float]:
    found = objectives.families(endpoints)
    return {(one.name, one.labels["slo"]): one.value for family in found for one in family.samples}


def test_bad_requests_are_failures_and_answers_that_came_late():
    endpoints = status(Slo(), Slo(name="fast", objective=0.95, latency=0.2))
    objectives = Objectives()
    for _ in range(2):
        objectives.add(endpoints, {("digits", "r1"): CAME, ("digits", "r2"): CAME, ("other", "r3"): CAME}, {})
    seen = counted(objectives, endpoints)
    assert seen["argosy_slo_requests_total", "availability"] == 400
    assert seen["argosy_slo_bad_requests_total", "availability"] == 16
    assert seen["argosy_slo_bad_requests_total", "fast"] == 40
    assert seen["argosy_slo_objective", "fast"] == 0.95


def test_copies_are_no_requests():
    endpoints, objectives = status(Slo()), Objectives()
    objectives.add(endpoints, {("digits", "r1"): CAME, ("digits", "r2"): CAME}, {"digits": "r2"})
    assert counted(objectives, endpoints)["argosy_slo_requests_total", "availability"] == 100


def test_an_objective_that_changes_begins_anew_and_one_that_is_gone_has_no_series():
    objectives = Objectives()
    objectives.add(status(Slo()), {("digits", "r1"): CAME}, {})
    other = status(Slo(objective=0.99))
    objectives.add(other, {}, {})
    assert counted(objectives, other)["argosy_slo_requests_total", "availability"] == 0
    objectives.add(status(), {("digits", "r1"): CAME}, {})
    assert counted(objectives, status()) == {}


def test_alerts_and_findings_are_told_by_endpoint_and_kind():
    family = monitors.alerts([AlertCount("digits", "drift", "ticket", 3, 1)])
    assert {one.labels["muted"]: one.value for one in family.samples} == {"false": 2, "true": 1}
    looked, drifted = monitors.findings([Tally("digits", "drift", 50, 2)])
    assert [one.value for one in (*looked.samples, *drifted.samples)] == [50, 2]


def test_the_recorder_tells_of_itself_where_one_runs():
    assert list(monitors.recorder(None)) == []
    found = {
        s.name: s.value
        for f in monitors.recorder(RecorderReport(pid=1, started=0.0, records=7, dropped=2, problem="full"))
        for s in f.samples
    }
    assert (found["argosy_recorder_records_total"], found["argosy_recorder_dropped_total"]) == (7, 2)
    assert found["argosy_recorder_healthy"] == 0
