"""The gateway's counters by endpoint and revision, as series that only grow while a revision is there; and tokens of
language models, under OpenTelemetry's names. Pure."""

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.core import HistogramMetricFamily, Metric

from argosy.api.metrics.families import counter, gauge
from argosy.gateway.clusters import WAITING
from argosy.gateway.traffic import Traffic
from argosy.store.usage import Usage, upper
from argosy.telemetry.counters import traffic_since, traffic_sum
from argosy.telemetry.feed import Key

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds in seconds of the duration histogram; the gateway counts whole milliseconds."""

LABELS = ("endpoint", "revision", "version")
CLASSES = {"successes": "2xx", "client_errors": "4xx", "errors": "5xx"}
COUNTERS = {
    "grpc_failures": ("argosy_gateway_grpc_failures", "gRPC calls that failed; HTTP counts them as 2xx"),
    "requests": ("argosy_gateway_attempts", "Requests sent to replicas, retries among them"),
    "retries": ("argosy_gateway_retries", "Requests sent again, to another replica"),
    "timeouts": ("argosy_gateway_timeouts", "Requests that replicas did not answer in time"),
    "overflows": ("argosy_gateway_overflows", "Requests refused because too many were in flight or waited"),
    "resets": ("argosy_gateway_resets", "Requests whose replica broke off"),
    "connect_failures": ("argosy_gateway_connect_failures", "Connections that replicas refused"),
}
GAUGES = {
    "active": ("argosy_gateway_active_requests", "Requests at replicas now"),
    "hosts": ("argosy_gateway_hosts", "Replicas the gateway knows"),
    "healthy_hosts": ("argosy_gateway_healthy_hosts", "Replicas the gateway sends requests to"),
}

EXPIRY, NO_CERTIFICATE = "server.days_until_first_cert_expiring", 2**32 - 1
WHOLE = {
    "http.argosy.downstream_cx_active": ("argosy_gateway_connections", "Connections of clients", False),
    "http.argosy.downstream_cx_total": ("argosy_gateway_connections_opened", "Connections of clients so far", True),
    "http.argosy.downstream_rq_active": ("argosy_gateway_requests_in_flight", "Requests of clients now", False),
    "http.argosy.downstream_rq_4xx": ("argosy_gateway_client_errors", "Answers 4xx, Envoy's own among them", True),
    "argosy.http_local_rate_limit.rate_limited": (
        "argosy_gateway_rate_limited",
        "Requests past their key's rate",
        True,
    ),
    "server.memory_allocated": ("argosy_gateway_memory_bytes", "Memory of Envoy in use", False),
    "server.uptime": ("argosy_gateway_uptime_seconds", "Since Envoy's start", False),
    EXPIRY: ("argosy_gateway_certificate_seconds", "Until the certificate expires", False),
    "access_logs.fluentd.argosy.entries_lost": (
        "argosy_gateway_payloads_lost",
        "Requests to language models that the recorder was not told of: too many waited",
        True,
    ),
    "tracing.opentelemetry.spans_dropped": ("argosy_gateway_spans_dropped", "Spans not sent: too many waited", True),
}
"""Envoy's statistic of the whole gateway → our name, its help, and whether it is a counter."""


SERVED = ("endpoint", "version")
FIRST = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
EACH = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
"""Upper bounds in seconds, as OpenTelemetry has them."""
TYPES = ("input", "cached", "output", "reasoning")


class Totals:
    """What every revision has had since this controller began, also where the gateway forgets. `came` is what the last
    call added."""

    def __init__(self) -> None:
        self._last: Mapping[Key, Traffic] = {}
        self.came: dict[Key, Traffic] = {}
        self.all: dict[Key, Traffic] = {}

    def start(self, now: Mapping[Key, Traffic]) -> None:
        """Count from here on: what was there before is an earlier controller's."""
        self._last = now
        self.add(now)

    def add(self, now: Mapping[Key, Traffic]) -> None:
        """Add what came since the last call; revisions that are gone are let go."""
        self.came = {key: traffic_since(new, self._last.get(key, Traffic())) for key, new in now.items()}
        self.all = {key: traffic_sum((self.all.get(key, Traffic()), new)) for key, new in self.came.items()}
        self._last = now


def families(totals: Mapping[Key, Traffic], versions: Mapping[str, str]) -> Iterator[Metric]:
    """Every family, with a sample of each endpoint and revision; the activator queue is the revision '@waiting'."""
    rows = [((*key, "" if key[1] == WAITING else versions.get(key[1], "")), each) for key, each in totals.items()]
    answers: list[tuple[tuple[str, ...], float]] = []
    for labels, each in rows:
        classes = {code: getattr(each, field) for field, code in CLASSES.items()}
        classes["other"] = max(0, each.completed - sum(classes.values()))
        answers += [((*labels, code), count) for code, count in classes.items()]
    yield counter("argosy_gateway_requests", "Requests answered for good", (*LABELS, "code"), answers)
    for make, table in ((counter, COUNTERS), (gauge, GAUGES)):
        for field, (name, text) in table.items():
            yield make(name, text, LABELS, [(labels, getattr(each, field)) for labels, each in rows])
    text = "From a request's arrival in full to the last byte of a replica's answer, retries included"
    family = HistogramMetricFamily("argosy_gateway_request_duration_seconds", text, labels=LABELS)
    for labels, each in rows:
        seconds = sum((part.lower + part.width / 2) * part.count for part in each.latency) / 1000
        upper = [(max(1.0, part.lower + part.width) / 1000, part.count) for part in each.latency]
        buckets = [(f"{bound:g}", float(sum(n for edge, n in upper if edge <= bound))) for bound in BOUNDS]
        family.add_metric(labels, [*buckets, ("+Inf", float(sum(n for _, n in upper)))], seconds)
    yield family


def whole(stats: Mapping[str, float]) -> Iterator[Metric]:
    """What is counted of the gateway as one. `stats` by Envoy's names; one that is missing has no sample."""
    for statistic, (name, text, grows) in WHOLE.items():
        value = stats.get(statistic)
        if value is not None and value != NO_CERTIFICATE:
            scale = 86400 if statistic == EXPIRY else 1
            yield (counter if grows else gauge)(name, text, (), [((), value * scale)])


def pattern() -> str:
    """The expression that finds all of `WHOLE` among Envoy's statistics."""
    return f"^({'|'.join(WHOLE).replace('.', '[.]')})$"


def tokens(totals: Iterable[Usage]) -> Iterator[Metric]:
    """Every family, with a sample of each endpoint and version; `totals` are of all hours."""
    rows = [((each.endpoint, each.version), each) for each in totals]
    counted = [((*labels, kind), float(getattr(each, kind))) for labels, each in rows for kind in TYPES]
    about = "Tokens: input with the cached, output with those of reasoning"
    yield counter("gen_ai_client_token_usage", about, (*SERVED, "gen_ai_token_type"), counted)
    yield _histogram(
        HistogramMetricFamily(
            "gen_ai_server_time_to_first_token_seconds", "To the first byte of a stream", labels=SERVED
        ),
        FIRST,
        [(labels, each.firsts, each.first) for labels, each in rows],
    )
    yield _histogram(
        HistogramMetricFamily(
            "gen_ai_server_time_per_output_token_seconds", "Of a stream, after the first", labels=SERVED
        ),
        EACH,
        [(labels, each.eaches, each.each) for labels, each in rows],
    )
    answers = "Answers of language models"
    yield counter("argosy_language_answers", answers, SERVED, [(labels, each.requests) for labels, each in rows])
    aborted = "Answers that were not sent to their end"
    yield counter("argosy_language_aborted", aborted, SERVED, [(labels, each.aborted) for labels, each in rows])
    yield counter("argosy_language_money", "What they cost", SERVED, [(labels, each.money) for labels, each in rows])


def _histogram(
    family: HistogramMetricFamily,
    bounds: tuple[float, ...],
    rows: Iterable[tuple[tuple[str, ...], Mapping[int, int], float]],
) -> Metric:
    for labels, buckets, milliseconds in rows:
        seconds = [(upper(place) / 1000, count) for place, count in buckets.items()]
        found = [(f"{bound:g}", float(sum(n for edge, n in seconds if edge <= bound))) for bound in bounds]
        family.add_metric(labels, [*found, ("+Inf", float(sum(buckets.values())))], milliseconds / 1000)
    return family
