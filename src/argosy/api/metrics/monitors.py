"""What watches over endpoints, as metrics: objectives, alerts, findings, the recorder."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client.core import Metric

from argosy.api.metrics.families import counter, gauge
from argosy.gateway.traffic import Traffic
from argosy.spec.offer import CostRow
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
        found = [((name, slo.name), slo, counts) for (name, slo), counts in self._counts.items()]
        text = "Requests that count for an objective"
        yield counter("argosy_slo_requests", text, labels, ((names, total) for names, _, (total, _) in found))
        text = "Requests that failed, or took longer than it allows"
        yield counter("argosy_slo_bad_requests", text, labels, ((names, bad) for names, _, (_, bad) in found))
        text = "The part of the requests that shall be good"
        yield gauge("argosy_slo_objective", text, labels, ((names, slo.objective) for names, slo, _ in found))
        windows = ((names, slo.days * 86400) for names, slo, _ in found)
        yield gauge("argosy_slo_window_seconds", "Over how long", labels, windows)
        left = (((name, slo.name), slo.budget) for name, each in endpoints.items() for slo in each.slos)
        yield gauge("argosy_slo_budget_left", "The part of the error budget that is left", labels, left)


def bad_of(slo: Slo, came: Traffic) -> int:
    """Failures, and answers past the objective's latency as the gateway reports it, to 10 %."""
    slow = sum(each.count for each in came.latency if slo.latency and each.lower + each.width / 2 > 1000 * slo.latency)
    return min(came.completed, came.errors + came.grpc_failures + slow)


def alerts(counts: Iterable[AlertCount]) -> Metric:
    """Alerts that are not resolved, by endpoint."""
    samples = [
        ((each.endpoint, each.kind, each.severity, muted), count)
        for each in counts
        for muted, count in (("false", each.count - each.muted), ("true", each.muted))
    ]
    return gauge("argosy_alerts", "Alerts that stand", ("endpoint", "kind", "severity", "muted"), samples)


def findings(tallies: Sequence[Tally]) -> Iterator[Metric]:
    """Columns, outputs and metrics that were looked at lately, and those of them that have drifted."""
    for name, text, field in (
        ("argosy_findings", "Subjects that monitoring has looked at in its last looks", "subjects"),
        ("argosy_findings_drifted", "Subjects that had drifted in its last looks", "drifted"),
    ):
        samples = (((each.endpoint, each.kind), getattr(each, field)) for each in tallies)
        yield gauge(name, text, ("endpoint", "kind"), samples)


def costs(totals: Mapping[tuple[str, str, str], CostRow]) -> Iterator[Metric]:
    """What was spent since the platform began, and what a request and 1,000 tokens cost, without idle replicas."""
    labels = ("endpoint", "version", "use")
    found = [*totals.items()]
    yield counter("argosy_cost_dollars", "What was spent, by use", labels, ((who, row.cost) for who, row in found))
    text = "Seconds of replicas, by use"
    yield counter("argosy_cost_seconds", text, labels, ((who, row.seconds) for who, row in found))
    work = [((row.endpoint, row.version), row) for row in totals.values() if row.use == "requests"]
    text = "What a request costs in engine time"
    each = ((who, row.cost / row.requests) for who, row in work if row.requests)
    yield gauge("argosy_cost_request_dollars", text, labels[:2], each)
    text = "What 1,000 tokens cost in engine time"
    tokens = ((who, 1000 * row.cost / row.tokens) for who, row in work if row.tokens)
    yield gauge("argosy_cost_1k_tokens_dollars", text, labels[:2], tokens)


def recorder(report: RecorderReport | None) -> Iterator[Metric]:
    """The recorder's last report; nothing where none runs."""
    if report is None:
        return
    for field, (name, text) in RECORDER.items():
        yield counter(name, text, (), [((), getattr(report, field))])
    text = "Segments that are not in the object store yet"
    yield gauge("argosy_recorder_waiting_segments", text, (), [((), report.waiting)])
    yield gauge("argosy_recorder_healthy", "1 unless it has a problem", (), [((), not report.problem)])
