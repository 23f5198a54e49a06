"""Objectives are counted by what came, without copies; a changed objective begins anew."""

import time

import msgspec

from argosy.control.status import EndpointStatus
from argosy.control.telemetry import watching
from argosy.control.telemetry.watching import Objectives
from argosy.gateway.traffic import Bin, Traffic
from argosy.monitoring.recorder.told import Report
from argosy.spec.endpoint import Endpoint
from argosy.spec.settings import Settings
from argosy.spec.slo import Slo
from argosy.store import alerts, findings, open_store
from argosy.store.alerts import Alert
from argosy.store.findings import Finding

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
        objectives.look(endpoints, {("digits", "r1"): CAME, ("digits", "r2"): CAME, ("other", "r3"): CAME}, {})
    seen = counted(objectives, endpoints)
    assert seen["argosy_slo_requests_total", "availability"] == 400
    assert seen["argosy_slo_bad_requests_total", "availability"] == 16
    assert seen["argosy_slo_bad_requests_total", "fast"] == 40
    assert seen["argosy_slo_objective", "fast"] == 0.95


def test_copies_are_no_requests():
    endpoints, objectives = status(Slo()), Objectives()
    objectives.look(endpoints, {("digits", "r1"): CAME, ("digits", "r2"): CAME}, {"digits": "r2"})
    assert counted(objectives, endpoints)["argosy_slo_requests_total", "availability"] == 100


def test_an_objective_that_changes_begins_anew_and_one_that_is_gone_has_no_series():
    objectives = Objectives()
    objectives.look(status(Slo()), {("digits", "r1"): CAME}, {})
    other = status(Slo(objective=0.99))
    objectives.look(other, {}, {})
    assert counted(objectives, other)["argosy_slo_requests_total", "availability"] == 0
    objectives.look(status(), {("digits", "r1"): CAME}, {})
    assert counted(objectives, status()) == {}


def test_alerts_are_counted_by_kind_and_muted_ones_apart(home):
    now = time.time()
    store = open_store(home, Settings())
    one = Alert(
        id="a", endpoint="digits", kind="drift", subject="x", severity="ticket", state="firing", since=now, text=""
    )
    over = msgspec.structs.replace(one, id="c", state="resolved")
    alerts.write(store.database, [one, msgspec.structs.replace(one, id="b", muted_until=now + 60), over])
    (family,) = watching.alerts(alerts.standing(store.database, now))
    assert {(s.labels["kind"], s.labels["muted"]): s.value for s in family.samples} == {
        ("drift", "false"): 1,
        ("drift", "true"): 1,
    }
    store.close()


def test_findings_are_counted_by_subject(home):
    now = time.time()
    store = open_store(home, Settings())
    one = Finding(
        endpoint="digits",
        version="1",
        kind="drift",
        subject="x",
        at=now,
        window_start=now - 60,
        window_end=now,
        rows=5,
        verdict="drift",
    )
    change = msgspec.structs.replace
    more = [
        change(one, window_end=now - 60),
        change(one, subject="y", verdict="no drift"),
        change(one, subject="z", window_end=now - 9e5),
    ]
    findings.write(store.database, [one, *more])
    looked, drifted = watching.findings(findings.tally(store.database, now - 7200))
    assert [s.value for s in looked.samples] == [2]
    assert [s.value for s in drifted.samples] == [1]
    store.close()


def test_the_recorder_tells_of_itself_where_one_runs():
    assert list(watching.recorder(None)) == []
    found = {
        s.name: s.value
        for f in watching.recorder(Report(pid=1, started=0.0, records=7, dropped=2, problem="full"))
        for s in f.samples
    }
    assert (found["argosy_recorder_records_total"], found["argosy_recorder_dropped_total"]) == (7, 2)
    assert found["argosy_recorder_healthy"] == 0
