"""Recording and alerting rules for Prometheus. Pure.

They know no endpoint by name: objectives are series of their own, so that a declaration that changes needs no new file.
"""

from typing import Any

from argosy.spec.slo import ENOUGH, HOUR, RULES

Rule = dict[str, Any]

WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
BY_SLO = "by (job, endpoint, slo)"
BY_ENDPOINT = "by (job, endpoint)"
ERRORS = (
    f'(sum {BY_ENDPOINT} (rate(argosy_gateway_requests_total{{code="5xx"}}[5m]))'
    f" + sum {BY_ENDPOINT} (rate(argosy_gateway_grpc_failures_total[5m])))"
)
REQUESTS = f"sum {BY_ENDPOINT} (rate(argosy_gateway_requests_total[5m]))"
DURATIONS = "sum by (job, endpoint, le) (rate(argosy_gateway_request_duration_seconds_bucket[5m]))"


def groups(job: str) -> list[Rule]:
    """All groups. `job` is the job's name in the scrape configuration."""
    return [
        {"name": "argosy-traffic", "rules": _traffic()},
        {"name": "argosy-objectives", "rules": [*_ratios(), *_burning()]},
        {"name": "argosy-platform", "rules": _platform(job)},
    ]


def _traffic() -> list[Rule]:
    quantiles = [
        _record(f"endpoint:argosy_latency_seconds:p{round(100 * q)}", f"histogram_quantile({q}, {DURATIONS})")
        for q in (0.5, 0.95, 0.99)
    ]
    return [
        _record("endpoint:argosy_requests:rate5m", REQUESTS),
        _record("endpoint:argosy_errors:ratio_rate5m", f"{ERRORS} / ({REQUESTS} > 0)"),
        *quantiles,
    ]


def _ratios() -> list[Rule]:
    rules = [
        _record("slo:argosy_budget:ratio", f"1 - max {BY_SLO} (argosy_slo_objective)"),
        _record("slo:argosy_window_seconds:max", f"max {BY_SLO} (argosy_slo_window_seconds)"),
    ]
    for window in WINDOWS:
        requests = f"sum {BY_SLO} (increase(argosy_slo_requests_total[{window}]))"
        bad = f"sum {BY_SLO} (increase(argosy_slo_bad_requests_total[{window}]))"
        rules.append(_record(f"slo:argosy_requests:increase{window}", requests))
        rules.append(_record(f"slo:argosy_bad:ratio_rate{window}", f"{bad} / ({requests} > 0)"))
    return rules


def _burning() -> list[Rule]:
    """The windows of `monitoring/slo/policy.py`. Where requests are few, the platform's own alerts decide."""
    found: dict[str, list[str]] = {}
    for share, seconds, severity in RULES:
        found.setdefault(severity, []).append(burns(share, seconds))
    texts = {
        "page": ("ArgosyErrorBudgetBurnsFast", "The error budget is spent in hours to a few days"),
        "ticket": ("ArgosyErrorBudgetBurnsSlowly", "The error budget will not last"),
    }
    return [
        _alert(texts[severity][0], " or ".join(exprs), severity, f"{texts[severity][1]}: {{{{ $labels.slo }}}}")
        for severity, exprs in found.items()
    ]


def burns(share: float, seconds: float) -> str:
    """Whether the bad requests of the window, and of its twelfth, are more than would spend that share of the budget.

    The bound never lies so high that nothing could exceed it.
    """
    budget = "slo:argosy_budget:ratio"
    factor = f"{share:g} * slo:argosy_window_seconds:max / {seconds:g} * {budget}"
    most = f"(1 + {budget}) / 2"
    bound = f"(({factor}) < ({most}) or ({most}))"
    long, short = _span(seconds), _span(seconds / 12)
    return (
        f"(slo:argosy_bad:ratio_rate{long} > {bound} and slo:argosy_bad:ratio_rate{short} > {bound}"
        f" and slo:argosy_requests:increase{short} * {bound} >= {ENOUGH:g})"
    )


def _span(seconds: float) -> str:
    return next(each for each in WINDOWS if _seconds(each) == seconds)


def _seconds(window: str) -> float:
    return int(window[:-1]) * {"m": 60.0, "h": HOUR, "d": 24 * HOUR}[window[-1]]


def _platform(job: str) -> list[Rule]:
    few = "argosy_endpoint_replicas_ready < argosy_endpoint_replicas_desired"
    none = "argosy_endpoint_replicas_ready == 0 and argosy_endpoint_replicas_desired > 0"
    drops = "rate(argosy_recorder_dropped_total[5m]) > 0"
    lost = f"sum {BY_ENDPOINT} (rate(argosy_payload_dropped_total[5m])) > 0"
    spans = "rate(argosy_traces_dropped_total[10m]) > 0"
    phase = 'argosy_rollout_phase{phase="rolled-back"}'
    back = f"{phase} == 1 and changes({phase}[1h]) > 0"
    return [
        _alert("ArgosyDown", f'up{{job="{job}"}} == 0', "page", "The controller does not answer", "2m"),
        _alert("ArgosyControllerUnwell", "argosy_controller_healthy == 0", "ticket", "Passes do not go through", "5m"),
        _alert("ArgosyEndpointDown", none, "page", "No replica takes requests", "2m"),
        _alert("ArgosyEndpointFailed", 'argosy_endpoint_state{state="failed"} == 1', "ticket", "It has failed", "5m"),
        _alert("ArgosyReplicasMissing", few, "ticket", "Fewer replicas are ready than are declared", "10m"),
        _alert("ArgosyReplicaDown", "argosy_replica_up == 0", "ticket", "{{ $labels.replica }} does not answer", "5m"),
        _alert("ArgosyReplicasCrash", "increase(argosy_revision_replaced_total[30m]) > 3", "ticket", "Replicas crash"),
        _alert("ArgosyEngineStuck", "argosy_engine_stuck_seconds > 30", "ticket", "An engine call does not end", "1m"),
        _alert("ArgosyRolledBack", back, "ticket", "A rollout was rolled back"),
        _alert("ArgosyRecorderDrops", drops, "ticket", "The recorder cannot keep what it is sent", "10m"),
        _alert("ArgosyPayloadLost", lost, "ticket", "Replicas cannot hand on what is to be recorded", "10m"),
        _alert("ArgosyRecorderUnwell", "argosy_recorder_healthy == 0", "ticket", "The recorder has a problem", "10m"),
        _alert("ArgosyTracesDropped", spans, "ticket", "The collector of traces is slow or gone", "15m"),
        _alert(
            "ArgosyCertificateExpires", "argosy_gateway_certificate_seconds < 14 * 86400", "ticket", "Renew it", "1h"
        ),
        _alert(
            "ArgosyScrapeIncomplete", "argosy_scrape_failed == 1", "ticket", "No word from {{ $labels.part }}", "5m"
        ),
    ]


def _record(name: str, expr: str) -> Rule:
    return {"record": name, "expr": expr}


def _alert(name: str, expr: str, severity: str, text: str, wait: str = "") -> Rule:
    rule: Rule = {"alert": name, "expr": expr}
    if wait:
        rule["for"] = wait
    where = "{{ with $labels.endpoint }}{{ . }}: {{ end }}"
    return rule | {"labels": {"severity": severity}, "annotations": {"summary": f"{where}{text}"}}
