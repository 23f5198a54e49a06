"""The dashboard of one endpoint. Pure."""

from argosy.telemetry.export.fleet import JOBS
from argosy.telemetry.export.panels import Json, Panel, Row, Target, Variable, dashboard

OF = 'job="$job",endpoint="$endpoint"'
RANGE = "[$__rate_interval]"
ENDPOINTS = Variable("endpoint", "Endpoint", 'label_values(argosy_endpoint_generation{job="$job"}, endpoint)')


def endpoint() -> Json:
    """Traffic, latency, batching, replicas, rollout, and what watches over it."""
    rows = [_traffic(), _latency(), _batching(), _replicas(), _rollout(), _watching()]
    return dashboard("argosy-endpoint", "Argosy: endpoint", [JOBS, ENDPOINTS], rows)


def _rate(metric: str, by: str, more: str = "") -> str:
    return f"sum by ({by}) (rate({metric}{{{OF}{more}}}{RANGE}))"


def _traffic() -> Row:
    failed = _rate("argosy_gateway_requests_total", "version", ',code="5xx"')
    grpc = _rate("argosy_gateway_grpc_failures_total", "version")
    again = {
        "retries": "argosy_gateway_retries_total",
        "timeouts": "argosy_gateway_timeouts_total",
        "overflows": "argosy_gateway_overflows_total",
        "resets": "argosy_gateway_resets_total",
    }
    troubles = [Target(f"sum(rate({metric}{{{OF}}}{RANGE}))", name) for name, metric in again.items()]
    return Row(
        "Traffic",
        [
            Panel("Requests", [Target(_rate("argosy_gateway_requests_total", "version"), "{{version}}")], "reqps"),
            Panel("Answers", [Target(_rate("argosy_gateway_requests_total", "code"), "{{code}}")], "reqps"),
            Panel("Errors", [Target(failed, "{{version}} 5xx"), Target(grpc, "{{version}} gRPC")], "reqps"),
            Panel("Between gateway and replicas", troubles, "reqps"),
            Panel("Outcomes in replicas", [Target(_rate("argosy_requests_total", "code"), "{{code}}")], "reqps"),
            Panel(
                "At replicas now", [Target(f"sum by (version) (argosy_gateway_active_requests{{{OF}}})", "{{version}}")]
            ),
        ],
    )


def _quantile(q: float, metric: str, by: str) -> str:
    return f"histogram_quantile({q}, {_rate(f'{metric}_bucket', f'{by}, le' if by else 'le')})"


def _latency() -> Row:
    gateway, replica = "argosy_gateway_request_duration_seconds", "argosy_request_duration_seconds"
    outside = [Target(_quantile(q, gateway, ""), f"p{round(100 * q)}") for q in (0.5, 0.95, 0.99)]
    inside = [Target(_quantile(q, replica, ""), f"p{round(100 * q)}") for q in (0.5, 0.95, 0.99)]
    text = "Whole answers, as callers had them, in whole milliseconds"
    return Row(
        "Latency",
        [
            Panel("At the gateway", outside, "s", text=text),
            Panel("At the gateway, p99 by version", [Target(_quantile(0.99, gateway, "version"), "{{version}}")], "s"),
            Panel("In replicas", inside, "s", text="From decoded to answered"),
        ],
    )


def _batching() -> Row:
    rows = f"sum(rate(argosy_rows_total{{{OF}}}{RANGE})) / (sum(rate(argosy_batches_total{{{OF}}}{RANGE})) > 0)"
    waited = (
        f"sum(rate(argosy_queue_seconds_total{{{OF}}}{RANGE})) / (sum(rate(argosy_requests_total{{{OF}}}{RANGE})) > 0)"
    )
    engine = f"sum by (replica) (rate(argosy_engine_seconds_total{{{OF}}}{RANGE}))"
    return Row(
        "Batching",
        [
            Panel("Rows in a batch", [Target(rows, "mean"), Target(_quantile(0.95, "argosy_batch_rows", ""), "p95")]),
            Panel("Why batches went", [Target(_rate("argosy_batches_released_total", "reason"), "{{reason}}")], "ops"),
            Panel("Waiting for the engine", [Target(waited, "a request")], "s"),
            Panel("Engine at work", [Target(engine, "{{replica}}")], "percentunit"),
            Panel("Queued", [Target(f"sum by (replica) (argosy_queued_requests{{{OF}}})", "{{replica}}")]),
            Panel("Rows", [Target(_rate("argosy_rows_total", "version"), "{{version}}")], "rowsps"),
        ],
    )


def _replicas() -> Row:
    count = [
        Target(f"max(argosy_endpoint_replicas_desired{{{OF}}})", "desired"),
        Target(f"max(argosy_endpoint_replicas_ready{{{OF}}})", "ready"),
    ]
    replaced = f"sum by (version) (increase(argosy_revision_replaced_total{{{OF}}}{RANGE}))"
    return Row(
        "Replicas",
        [
            Panel("Replicas", count),
            Panel(
                "By phase",
                [Target(f"sum by (version, phase) (argosy_revision_replicas{{{OF}}})", "{{version}} {{phase}}")],
            ),
            Panel("Replaced", [Target(replaced, "{{version}}")]),
            Panel("Processor", [Target(f"max by (replica) (argosy_replica_cpu_cores{{{OF}}})", "{{replica}}")]),
            Panel(
                "Memory", [Target(f"max by (replica) (argosy_replica_memory_bytes{{{OF}}})", "{{replica}}")], "bytes"
            ),
            Panel("Traces", [Target(_rate("argosy_traces_sent_total", "replica"), "{{replica}}")], "ops"),
        ],
    )


def _rollout() -> Row:
    share = f"max by (candidate, stable) (argosy_rollout_weight{{{OF}}})"
    return Row(
        "Rollout",
        [
            Panel("Candidate's part", [Target(share, "{{candidate}} after {{stable}}")], "percentunit", width=12),
            Panel("Phase", [Target(f"max by (phase) (argosy_rollout_phase{{{OF}}}) > 0", "{{phase}}")], width=12),
        ],
    )


def _watching() -> Row:
    budget = f"min by (slo) (argosy_slo_budget_left{{{OF}}})"
    burn = f"max by (slo) (slo:argosy_bad:ratio_rate1h{{{OF}}} / (slo:argosy_budget:ratio{{{OF}}} > 0))"
    records = _rate("argosy_payload_records_total", "version")
    return Row(
        "Watching",
        [
            Panel("Error budget left", [Target(budget, "{{slo}}")], "percentunit"),
            Panel("Burn rate, 1 h", [Target(burn, "{{slo}}")], text="1 spends the budget by the end of its days"),
            Panel("Alerts", [Target(f"sum by (kind, muted) (argosy_alerts{{{OF}}})", "{{kind}}, muted {{muted}}")]),
            Panel("Drifted", [Target(f"sum by (kind) (argosy_findings_drifted{{{OF}}})", "{{kind}}")]),
            Panel("Looked at", [Target(f"sum by (kind) (argosy_findings{{{OF}}})", "{{kind}}")]),
            Panel(
                "Recorded",
                [
                    Target(records, "{{version}}"),
                    Target(_rate("argosy_payload_dropped_total", "version"), "{{version}} dropped"),
                ],
                "reqps",
            ),
        ],
    )
