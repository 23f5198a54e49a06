"""`argosy alerts`, with a control API that answers what the test says. A platform is asked in tests/alerting."""

import json
from typing import Any

import pytest

from argosy.cli import alerts
from argosy.spec.errors import InvalidArgument, Unavailable

ALERT: dict[str, Any] = {
    "id": "digits/slo/availability@1767225600",
    "endpoint": "digits",
    "kind": "slo",
    "subject": "availability",
    "severity": "page",
    "state": "firing",
    "since": 1767225600.0,
    "until": None,
    "text": "20 of the last 40\x1b[31m requests\nwere bad",
    "muted_until": None,
}
SINK: dict[str, Any] = {"name": "ops", "kind": "webhook", "waiting": 0, "lost": 0, "error": ""}


class Api:
    """Answers by path; `posted` has what was sent."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {"/v1/alerts": [ALERT], "/v1/alerts/sinks": [SINK]}
        self.posted: list[tuple[str, Any]] = []

    def get(self, path: str, **query: Any) -> Any:
        return self.answers[path]

    def post(self, path: str, body: Any) -> Any:
        self.posted.append((path, body))
        return self.answers[path]


@pytest.fixture
def api(monkeypatch) -> Api:
    found = Api()
    monkeypatch.setattr(alerts, "control", lambda **_: found)
    return found


def test_what_is_wrong_comes_first_and_what_is_over_only_with_all(run, api):
    over = ALERT | {"id": "digits/drift/x@1", "state": "resolved", "until": 1.0}
    muted = ALERT | {"id": "digits/drift/y@2", "state": "muted", "muted_until": 1767225600.0, "since": 2e9}
    api.answers["/v1/alerts"] = [over, muted, ALERT]
    lines = run("alerts", "ls").stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [ALERT["id"], muted["id"]]
    assert "muted until 2026-01-01 00:00" in lines[2]
    assert "20 of the last 40 [31m requests were bad" in lines[1]
    assert len(run("alerts", "ls", "--all").stdout.splitlines()) == 4
    found = json.loads(run("alerts", "ls", "--json").stdout)
    assert ([each["id"] for each in found["alerts"]], found["sinks"]) == ([muted["id"], ALERT["id"]], [SINK])


def test_nothing_is_wrong(run, api):
    api.answers["/v1/alerts"] = []
    assert run("alerts", "ls").stdout == "nothing is wrong\n"


def test_sinks_that_are_behind_or_missing_are_named(run, api):
    api.answers["/v1/alerts/sinks"] = [SINK | {"waiting": 2, "error": "it answered 500"}]
    assert "sink ops: 2 wait, 0 given up: it answered 500" in run("alerts", "ls").stderr
    api.answers["/v1/alerts/sinks"] = []
    assert "no sink is told" in run("alerts", "ls").stderr


def test_mute(run, api):
    api.answers["/v1/alerts/mute"] = {"alert": ALERT["id"], "until": 1767225600.0}
    said = run("alerts", "mute", ALERT["id"], "--for", "4h", "--reason", "known")
    assert said.stdout == f"{ALERT['id']} is muted until 2026-01-01 00:00:00 UTC\n"
    ((path, body),) = api.posted
    assert (path, body["alert"], body["seconds"], body["reason"]) == ("/v1/alerts/mute", ALERT["id"], 14400.0, "known")
    assert run("alerts", "mute", ALERT["id"], "--for", "0").stdout == f"{ALERT['id']} is not muted\n"


@pytest.mark.parametrize(("text", "length"), [("0", 0), ("30m", 1800), ("1.5h", 5400), ("7d", 604800), ("2w", 1209600)])
def test_lengths(text, length):
    assert alerts.seconds(text) == length


@pytest.mark.parametrize("text", ["", "4", "h", "-1h", "4 h", "1e9h", "10s"])
def test_what_is_no_length(text):
    with pytest.raises(InvalidArgument, match="--for is 30m, 4h"):
        alerts.seconds(text)


def test_trying_sinks(run, api):
    api.answers["/v1/alerts/test"] = [{"sink": "ops", "taken": True, "said": "it answered 200"}]
    assert run("alerts", "test", "ops").exit_code == 0
    assert api.posted == [("/v1/alerts/test", {"sink": "ops"})]
    api.answers["/v1/alerts/test"] += [{"sink": "chat", "taken": False, "said": "it answered 404"}]
    said = run("alerts", "test")
    assert (said.exit_code, "it answered 404" in said.stdout) == (Unavailable.exit, True)
    api.answers["/v1/alerts/test"] = []
    assert "no sinks: declare some" in run("alerts", "test").stdout
