"""The rules, run by Prometheus' own tester over made-up series."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from argosy.telemetry.export.files import PROMETHEUS, write
from argosy.telemetry.export.rules import burns
from tests.programs import need
from tests.telemetry.export.kit import generated, rules

SLO = '{job="argosy",instance="i",endpoint="digits",slo="availability"}'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, generated("127.0.0.1:7070", tmp_path / "metrics.token", tmp_path))
    (tmp_path / "metrics.token").write_text("x")
    return tmp_path


def promtool(*arguments: str) -> str:
    done = subprocess.run([need("promtool"), *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def fires(folder: Path, series: dict[str, str], at: str, alerts: dict[str, list[dict[str, str]]]) -> None:
    """Fails unless exactly these alerts, of those named, fire at that time."""
    test: dict[str, Any] = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [
            {"eval_time": at, "alertname": name, "exp_alerts": [{"exp_labels": each} for each in labels]}
            for name, labels in alerts.items()
        ],
    }
    stripped = yaml.safe_load((folder / "prometheus/rules/argosy.yml").read_text())
    for group in stripped["groups"]:
        for rule in group["rules"]:
            rule.pop("annotations", None)
    (folder / "rules.yml").write_text(yaml.safe_dump(stripped))
    (folder / "test.yml").write_text(yaml.safe_dump({"rule_files": ["rules.yml"], "tests": [test]}))
    promtool("test", "rules", str(folder / "test.yml"))


def test_prometheus_takes_configuration_and_rules(folder):
    assert "valid prometheus config" in promtool("check", "config", str(folder / PROMETHEUS))


def test_names_are_told_once_and_every_alert_says_how_urgent_it_is(folder):
    found = rules(generated("127.0.0.1:7070", folder, folder))
    names = [rule.get("record") or rule["alert"] for rule in found]
    assert len(set(names)) == len(names)
    assert {rule["labels"]["severity"] for rule in found if "alert" in rule} == {"page", "ticket"}


def objective(requests: str, bad: str, target: float = 0.999, days: int = 30) -> dict[str, str]:
    return {
        f"argosy_slo_requests_total{SLO}": requests,
        f"argosy_slo_bad_requests_total{SLO}": bad,
        f"argosy_slo_objective{SLO}": f"{target}x120",
        f"argosy_slo_window_seconds{SLO}": f"{days * 86400}x120",
    }


BURNS = {"severity": "page", "job": "argosy", "endpoint": "digits", "slo": "availability"}


@pytest.mark.parametrize("bad", ["0+120x120", "0+60x120"], ids=["20 times the budget", "10 times, for all there is"])
def test_a_budget_that_burns_fast_pages(folder, bad):
    fires(folder, objective("0+6000x120", bad), "90m", {"ArgosyErrorBudgetBurnsFast": [BURNS]})


def test_few_requests_make_no_rate(folder):
    fires(folder, objective("0+4x120", "0+2x120"), "90m", {"ArgosyErrorBudgetBurnsFast": []})


def test_within_the_budget_nobody_is_told(folder):
    calm = objective("0+6000x120", "0+3x120")
    fires(folder, calm, "90m", {"ArgosyErrorBudgetBurnsFast": [], "ArgosyErrorBudgetBurnsSlowly": []})


def test_a_low_objective_can_be_missed_too(folder):
    bad = objective("0+600x120", "0+580x120", target=0.6)
    fires(folder, bad, "90m", {"ArgosyErrorBudgetBurnsFast": [BURNS]})


def test_what_is_down_pages_and_what_drops_is_told(folder):
    digits = {"job": "argosy", "instance": "i", "endpoint": "digits"}
    series = {
        'argosy_endpoint_replicas_ready{job="argosy",instance="i",endpoint="digits"}': "0x30",
        'argosy_endpoint_replicas_desired{job="argosy",instance="i",endpoint="digits"}': "2x30",
        'argosy_recorder_dropped_total{job="argosy",instance="i"}': "0+10x30",
        'argosy_replica_up{job="argosy",instance="i",endpoint="digits",replica="a"}': "0x30",
        'argosy_rollout_phase{job="argosy",instance="i",endpoint="digits",phase="rolled-back"}': "0x10 1x20",
        'up{job="argosy",instance="i"}': "0x30",
    }
    expected = {
        "ArgosyEndpointDown": [{"severity": "page", **digits}],
        "ArgosyReplicasMissing": [{"severity": "ticket", **digits}],
        "ArgosyRecorderDrops": [{"severity": "ticket", "job": "argosy", "instance": "i"}],
        "ArgosyReplicaDown": [{"severity": "ticket", **digits, "replica": "a"}],
        "ArgosyRolledBack": [{"severity": "ticket", **digits, "phase": "rolled-back"}],
        "ArgosyDown": [{"severity": "page", "job": "argosy", "instance": "i"}],
        "ArgosyEndpointFailed": [],
    }
    fires(folder, series, "20m", expected)


def test_a_window_is_confirmed_by_its_twelfth():
    expr = burns(0.02, 3600)
    assert expr.startswith("(slo:argosy_bad:ratio_rate1h > ((0.02 * slo:argosy_window_seconds:max / 3600 *")
    assert "and slo:argosy_bad:ratio_rate5m >" in expr
