"""`argosy triggers` with a platform that says what it is told to."""

import msgspec
import pytest

from argosy.cli import alerts

FOUND = {
    "triggers": [
        {
            "name": "retrain",
            "when": "realised_drop",
            "metric": "auroc",
            "runs": "command",
            "bad": 1,
            "windows": 2,
            "fired": 60.0,
        },
        {
            "name": "ask",
            "when": "estimated_drop",
            "metric": "f1",
            "runs": "webhook",
            "bad": 0,
            "windows": 1,
            "fired": None,
        },
    ],
    "runs": [
        {
            "id": "flights/retrain@0",
            "trigger": "retrain",
            "version": "3",
            "at": 60.0,
            "reason": "realised auroc fell",
            "phase": "failed",
            "tries": 1,
            "status": 7,
            "ended": 9.0,
            "error": "exit status 7",
        },
    ],
}


@pytest.fixture
def told(monkeypatch):
    """What the platform says, and the paths it was asked for."""
    asked, said = [], {"found": FOUND}

    class Control:
        def get(self, path):
            asked.append(path)
            return said["found"]

    monkeypatch.setattr(alerts, "control", Control)
    return asked, said


def test_triggers_and_their_runs_are_shown(run, told, place):
    result = run("triggers", "flights")
    assert result.exit_code == 0, result.output
    assert told[0] == ["/v1/endpoints/flights/triggers"]
    lines = [line.split() for line in result.stdout.splitlines() if line.strip()]
    assert lines[1] == ["retrain", "realised_drop", "auroc", "command", "1", "of", "2", "1970-01-01", "00:01:00"]
    assert lines[2] == ["ask", "estimated_drop", "f1", "webhook", "0", "of", "1"]
    assert lines[4] == ["retrain", "1970-01-01", "00:01:00", "3", "failed", "7", "exit", "status", "7"]
    assert "trigger.flights.*.log" in result.stderr
    assert msgspec.json.decode(run("triggers", "flights", "--json").stdout) == FOUND


def test_none_are_told_and_a_hostile_name_stays_a_name(run, told, place):
    told[1]["found"] = {"triggers": [], "runs": []}
    assert run("triggers", "a/../../b?c").stdout == "no triggers are declared\n"
    assert told[0] == ["/v1/endpoints/a%2F..%2F..%2Fb%3Fc/triggers"]
