"""Recording and alerting rules for Prometheus: those of `rules.yaml`, and those of objectives.

They know no endpoint by name: objectives are series of their own, so that a declaration that changes needs no new file.
"""

from importlib import resources
from typing import Any

import msgspec

from argosy.spec.slo import ENOUGH, HOUR, RULES

Rule = dict[str, Any]

WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
BY_SLO = "by (job, endpoint, slo)"


def groups(job: str) -> list[Rule]:
    """All groups. `job` is the job's name in the scrape configuration."""
    text = resources.files("argosy.telemetry.export").joinpath("rules.yaml").read_text("utf-8").replace("$job", job)
    fixed = msgspec.yaml.decode(text, type=dict[str, list[Rule]])
    return [
        {"name": "argosy-traffic", "rules": fixed["argosy-traffic"]},
        {"name": "argosy-objectives", "rules": [*_ratios(), *_burning()]},
        {"name": "argosy-platform", "rules": fixed["argosy-platform"]},
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
    texts = {
        "page": ("ArgosyErrorBudgetBurnsFast", "The error budget is spent in hours to a few days"),
        "ticket": ("ArgosyErrorBudgetBurnsSlowly", "The error budget will not last"),
    }
    where = "{{ with $labels.endpoint }}{{ . }}: {{ end }}"
    return [
        {
            "alert": name,
            "expr": " or ".join(burns(share, seconds) for share, seconds, each in RULES if each == severity),
            "labels": {"severity": severity},
            "annotations": {"summary": f"{where}{text}: {{{{ $labels.slo }}}}"},
        }
        for severity, (name, text) in texts.items()
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
    units = {"m": 60.0, "h": HOUR, "d": 24 * HOUR}
    return next(each for each in WINDOWS if int(each[:-1]) * units[each[-1]] == seconds)


def _record(name: str, expr: str) -> Rule:
    return {"record": name, "expr": expr}
