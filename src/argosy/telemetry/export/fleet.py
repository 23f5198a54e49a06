"""The dashboard of everything that runs. Pure."""

from argosy.telemetry.export.panels import Json, Panel, Row, Target, Variable, dashboard

JOB = 'job="$job"'
BY = "by (endpoint)"
JOBS = Variable("job", "Job", "label_values(argosy_build_info, job)")


def fleet() -> Json:
    """Endpoints side by side, the machine under them, and the platform itself."""
    return dashboard("argosy-fleet", "Argosy: fleet", [JOBS], [_standing(), _traffic(), _machine(), _platform()])


def _standing() -> Row:
    def stat(title: str, expr: str, unit: str = "short") -> Panel:
        return Panel(title, [Target(expr, "")], unit, "stat", 4)

    return Row(
        "Now",
        [
            stat("Endpoints", f"count(argosy_endpoint_generation{{{JOB}}}) or vector(0)"),
            stat("Ready", f'sum(argosy_endpoint_state{{{JOB},state="ready"}}) or vector(0)'),
            stat("Failed", f'sum(argosy_endpoint_state{{{JOB},state="failed"}}) or vector(0)'),
            stat("Replicas ready", f"sum(argosy_endpoint_replicas_ready{{{JOB}}}) or vector(0)"),
            stat("Alerts that stand", f'sum(argosy_alerts{{{JOB},muted="false"}}) or vector(0)'),
            stat("Requests a second", f"sum(rate(argosy_gateway_requests_total{{{JOB}}}[$__rate_interval]))", "reqps"),
        ],
    )


def _traffic() -> Row:
    rate = f"sum {BY} (rate(argosy_gateway_requests_total{{{JOB}}}[$__rate_interval]))"
    failed = (
        f'sum {BY} (rate(argosy_gateway_requests_total{{{JOB},code="5xx"}}[$__rate_interval]))'
        f" + sum {BY} (rate(argosy_gateway_grpc_failures_total{{{JOB}}}[$__rate_interval]))"
    )
    durations = f"argosy_gateway_request_duration_seconds_bucket{{{JOB}}}"
    p99 = f"histogram_quantile(0.99, sum by (endpoint, le) (rate({durations}[$__rate_interval])))"
    left = f"min by (endpoint, slo) (argosy_slo_budget_left{{{JOB}}})"
    return Row(
        "Traffic",
        [
            Panel("Requests", [Target(rate, "{{endpoint}}")], "reqps"),
            Panel("Errors", [Target(f"({failed}) / ({rate} > 0)", "{{endpoint}}")], "percentunit", text="5xx and gRPC"),
            Panel("Latency, p99", [Target(p99, "{{endpoint}}")], "s"),
            Panel("Error budget left", [Target(left, "{{endpoint}} {{slo}}")], "percentunit"),
            Panel("Alerts", [Target(f"sum by (endpoint, kind) (argosy_alerts{{{JOB}}})", "{{endpoint}} {{kind}}")]),
            Panel("Drifted", [Target(f"sum {BY} (argosy_findings_drifted{{{JOB}}})", "{{endpoint}}")]),
        ],
    )


def _machine() -> Row:
    return Row(
        "Machine",
        [
            Panel("Processor", [Target(f"sum {BY} (argosy_replica_cpu_cores{{{JOB}}})", "{{endpoint}}")]),
            Panel("Memory", [Target(f"sum {BY} (argosy_replica_memory_bytes{{{JOB}}})", "{{endpoint}}")], "bytes"),
            Panel("Replicas", [Target(f"sum by (phase) (argosy_revision_replicas{{{JOB}}})", "{{phase}}")]),
        ],
    )


def _platform() -> Row:
    passes = f"rate(argosy_controller_pass_seconds_bucket{{{JOB}}}[$__rate_interval])"
    records = f"rate(argosy_recorder_records_total{{{JOB}}}[$__rate_interval])"
    dropped = f"rate(argosy_recorder_dropped_total{{{JOB}}}[$__rate_interval])"
    gateway = f"argosy_gateway_connections{{{JOB}}}", f"argosy_gateway_requests_in_flight{{{JOB}}}"
    limited = f"rate(argosy_gateway_rate_limited_total{{{JOB}}}[$__rate_interval])"
    return Row(
        "Platform",
        [
            Panel("Passes, p95", [Target(f"histogram_quantile(0.95, {passes})", "controller")], "s"),
            Panel("Recorder", [Target(records, "kept"), Target(dropped, "dropped")], "reqps"),
            Panel("Gateway", [Target(gateway[0], "connections"), Target(gateway[1], "in flight")]),
            Panel("Past their rate", [Target(limited, "refused")], "reqps"),
            Panel("Controller's memory", [Target(f"process_resident_memory_bytes{{{JOB}}}", "controller")], "bytes"),
            Panel("Not told", [Target(f"sum by (part) (argosy_scrape_failed{{{JOB}}})", "{{part}}")]),
        ],
    )
