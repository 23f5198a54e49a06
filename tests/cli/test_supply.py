"""`argosy supply`, with a control API that answers what the test says. A platform is asked in tests/platform."""

import contextlib
import json
from typing import Any

import pytest

from argosy.cli import supply
from argosy.spec.offer import Launch, Offer
from argosy.store.database import Database
from argosy.store.launches import Launches

OFFER = {"provider": "cloud", "instance": "a10g.1", "region": "r1", "zone": "r1a", "price": 1.0}
LAUNCH: dict[str, Any] = {
    "id": "argosy-1-a",
    "offer": OFFER,
    "asked": 1767225600.0,
    "state": "intended",
    "machine": "",
    "price": 0.0,
    "reason": "",
}
READY = LAUNCH | {"state": "ready", "machine": "m-\x1b[31m1", "price": 1.5}


class Api:
    """Answers one after the other; `sent` has what was asked for."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.sent = list(answers), list[tuple[Any, ...]]()

    def _answer(self, *sent: Any) -> Any:
        self.sent.append(sent)
        return self.answers.pop(0)

    def get(self, path: str, **query: Any) -> Any:
        return self._answer("GET", path)

    def put(self, path: str, body: Any) -> Any:
        return self._answer("PUT", path, body)

    def delete(self, path: str, **query: Any) -> Any:
        return self._answer("DELETE", path, query)


@pytest.fixture
def api(monkeypatch):
    def make(*answers: Any) -> Api:
        found = Api(*answers)
        monkeypatch.setattr(supply, "control", lambda **_: found)
        monkeypatch.setattr(supply, "POLL", 0.0)
        return found

    return make


def test_what_is_launched_and_what_differs(run, api):
    finding = {
        "kind": "double",
        "provider": "cloud",
        "launch": "argosy-1-a",
        "machine": "m-2",
        "price": 1.0,
        "said": "so",
    }
    answer = {"launches": [READY], "findings": [finding]}
    api(answer, answer, {"launches": [], "findings": []})
    said = run("supply", "ls").stdout
    assert "m- [31m1" in said
    assert "1.500" in said
    assert "double" in said
    assert json.loads(run("supply", "ls", "--json").stdout) == answer
    assert run("supply", "ls").stdout == "nothing is launched\n"


def test_a_launch_is_waited_for(run, api):
    asked = api(LAUNCH, {"launches": [LAUNCH]}, {"launches": [LAUNCH | {"id": "other"}, READY]})
    done = run("supply", "launch", "cloud", "--gpu", "A10G", "--spot", "--most", 2, "--token", "a", "--wait", 60)
    assert done.exit_code == 0, done.stderr
    assert "ready" in done.stdout
    method, path, body = asked.sent[0]
    assert (method, path) == ("PUT", "/v1/launches/a")
    assert (body["provider"], body["gpu"], body["market"], body["most"]) == ("cloud", "A10G", "spot", 2.0)


def test_a_launch_that_fails_or_takes_long_is_an_error(run, api):
    api(LAUNCH | {"state": "failed", "reason": "no capacity"})
    failed = run("supply", "launch", "cloud")
    assert (failed.exit_code, "argosy-1-a failed: no capacity" in failed.stderr) == (6, True)
    api(LAUNCH)
    late = run("supply", "launch", "cloud", "--wait", 1e-9)
    assert (late.exit_code, "it goes on: argosy supply ls" in late.stderr) == (6, True)


def test_the_end_says_who_and_why(run, api):
    asked = api(READY | {"state": "ending"})
    assert "ending" in run("supply", "end", "argosy-1-a", "--reason", "enough").stdout
    method, path, query = asked.sent[0]
    assert (method, path, query["reason"]) == ("DELETE", "/v1/launches/argosy-1-a", "enough")


def test_down_says_what_stays_launched(run, place):
    place.config.write_text("supply: {providers: {here: {kind: local}}}\n")
    assert run("down").stderr == ""
    with contextlib.closing(Database(place.database)) as database:
        for number in range(2):
            offer = Offer(provider="here", region="", instance="x", price=0.25)
            Launches(database).intend(Launch(id=f"argosy-1-{number}", offer=offer, asked=1.0))
    assert "2 machines stay launched at 0.50 $/h" in run("down").stderr


def test_groups_with_what_is_ready_of_them(run, api):
    group = {"name": "g", "market": "spot", "wanted": 4, "ready": 3, "spot": 3, "on_demand": 0, "coming": 1}
    group |= {"leaving": 0, "hourly": 0.9, "risk": 0.0123, "reason": "3 on spot\x1b[31m"}
    api({"groups": [group]}, {"groups": [group | {"risk": None}]}, {"groups": []})
    said = run("supply", "groups").output
    assert "3/4" in said
    assert "1.23%" in said
    assert "\x1b" not in said
    assert json.loads(run("supply", "groups", "--json").output)["groups"][0]["risk"] is None
    assert "names none" in run("supply", "groups").output
