"""What watches over endpoints, as metrics: objectives, alerts, findings, the recorder."""

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.core import Metric

from argosy.api.metrics.families import counter, gauge
from argosy.gateway.traffic import Traffic
from argosy.spec.recorder import RecorderReport
from argosy.spec.slo import Slo
from argosy.spec.status import EndpointStatus
from argosy.store.alerts import AlertCount
from argosy.store.findings import Tally
from argosy.telemetry.feed import Key

RECORDER = {
    "records": ("argosy_recorder_records", "Requests that the recorder has kept"),
    "dropped": ("argosy_recorder_dropped", "Requests that the recorder could not keep"),
    "broken": ("argosy_recorder_broken_frames", "Frames of replicas that could not be read"),
    "profiles": ("argosy_recorder_profiles", "Minute profiles written"),
    "shipped": ("argosy_recorder_shipped_segments", "Segments sent to the object store"),
}


class Objectives:
    """Counts the requests of every objective, and the bad ones among them, while it is declared as it is."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, Slo], tuple[int, int]] = {}

    def add(
        self, endpoints: Mapping[str, EndpointStatus], came: Mapping[Key, Traffic], copies: Mapping[str, str]
    ) -> None:
        """Add what came. `copies`: endpoint → the revision that gets copies only, which are no requests."""
        wanted = [(name, slo) for name, each in endpoints.items() for slo in each.endpoint.slos]
        before, self._counts = self._counts, {}
        for name, slo in wanted:
            total, bad = before.get((name, slo), (0, 0))
            for (endpoint, revision), traffic in came.items():
                if endpoint == name and copies.get(name) != revision:
                    total, bad = total + traffic.completed, bad + bad_of(slo, traffic)
            self._counts[name, slo] = (total, bad)

    def families(self, endpoints: Mapping[str, EndpointStatus]) -> Iterator[Metric]:
        """Counters, and what is declared and left of each objective."""
        labels = ("endpoint", "slo")
        total = counter("argosy_slo_requests", "Requests that count for an objective", labels)
        bad = counter("argosy_slo_bad_requests", "Requests that failed, or took longer than it allows", labels)
        objective = gauge("argosy_slo_objective", "The part of the requests that shall be good", labels)
        window = gauge("argosy_slo_window_seconds", "Over how long", labels)
        left = gauge("argosy_slo_budget_left", "The part of the error budget that is left", labels)
        for (name, slo), (requests, wrong) in self._counts.items():
            total.add_metric((name, slo.name), requests)
            bad.add_metric((name, slo.name), wrong)
            objective.add_metric((name, slo.name), slo.objective)
            window.add_metric((name, slo.name), slo.days * 86400)
        for name, each in endpoints.items():
            for slo in each.slos:
                left.add_metric((name, slo.name), slo.budget)
        yield from (total, bad, objective, window, left)


def bad_of(slo: Slo, came: Traffic) -> int:
    """Failures, and answers past the objective's latency as the gateway reports it, to 10 %."""
    slow = sum(each.count for each in came.latency if slo.latency and each.lower + each.width / 2 > 1000 * slo.latency)
    return min(came.completed, came.errors + came.grpc_failures + slow)


def alerts(counts: Iterable[AlertCount]) -> Iterator[Metric]:
    """Alerts that stand, by endpoint."""
    labels = ("endpoint", "kind", "severity", "muted")
    family = gauge("argosy_alerts", "Alerts that stand", labels)
    for each in counts:
        what = (each.endpoint, each.kind, each.severity)
        family.add_metric((*what, "false"), each.count - each.muted)
        family.add_metric((*what, "true"), each.muted)
    yield family


def findings(tallies: Iterable[Tally]) -> Iterator[Metric]:
    """Columns, outputs and metrics that were looked at lately, and those of them that have drifted."""
    labels = ("endpoint", "kind")
    looked = gauge("argosy_findings", "Subjects that monitoring has looked at in its last looks", labels)
    drifted = gauge("argosy_findings_drifted", "Subjects that had drifted in its last looks", labels)
    for each in tallies:
        looked.add_metric((each.endpoint, each.kind), each.subjects)
        drifted.add_metric((each.endpoint, each.kind), each.drifted)
    yield from (looked, drifted)


def recorder(report: RecorderReport | None) -> Iterator[Metric]:
    """What the recorder says of itself; nothing where none runs."""
    if report is None:
        return
    for field, (name, text) in RECORDER.items():
        family = counter(name, text)
        family.add_metric((), getattr(report, field))
        yield family
    gauges = (("argosy_recorder_waiting_segments", "Segments that are not in the object store yet", report.waiting),)
    for name, text, value in (*gauges, ("argosy_recorder_healthy", "1 unless it has a problem", not report.problem)):
        family = gauge(name, text)
        family.add_metric((), value)
        yield family
