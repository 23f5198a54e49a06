"""A platform with an objective and a sink: real requests fail, the page arrives, and is resolved."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from argosy.spec.settings import Home, load
from argosy.store import open_store
from tests import postgres as stores
from tests.alerting.kit import web
from tests.platform.up import Up, clear, until
from tests.store.samples import FILES, model_lineage, model_manifest, write_folder

ROOT = Path(__file__).parents[3]
CALM_UP = [sys.executable, "-m", "tests.alerting.calm_up"]
BODY = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 1, 1, 1]}]}
STANDBY = [sys.executable, "-m", "argosy.platform", "--standby"]
SLO = {"name": "availability", "objective": 0.6}
"""So low that all rules that page have one bound (7 of 10 are bad): once good requests have ended a page, no more of
them begin another, as they do where rules want different numbers of requests."""


@pytest.fixture
def site():
    with web() as told:
        yield told


SETTINGS = "control: {port: 0}\ngateway: {port: 0}\nalerts: {ops: {kind: webhook, url: $OPS}}\n"


@pytest.fixture
def ops(home, start, site, monkeypatch):
    """A platform with the sink `ops` and the ready endpoint `digits`; it is told by the variable OPS where `ops` is."""
    return begun(home, start, site, monkeypatch, SETTINGS)


def begun(home, start, site, monkeypatch, settings):
    monkeypatch.setenv("OPS", f"{site.url}/secret")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("ARGOSY_HOME", str(home.root))
    home.config.write_text(settings)
    store = open_store(home, load(home, {}))
    folder = write_folder(home.root / "p", FILES | {"behaviour": b"ok"})
    store.add(folder, name="digits", manifest=model_manifest(), lineage=model_lineage())
    store.close()
    up = start(CALM_UP).ready()
    body = {"model": "digits:1", "public": True, "retries": 0, "slos": [SLO]}
    up.call("PUT", "/v1/endpoints/digits", body, wait=30)
    until(lambda: up.call("GET", "/v1/endpoints/digits")["slos"])
    return up


def ask(up, times: int) -> list[int]:
    url = up.call("GET", "/v1/endpoints/digits")["url"]
    with httpx.Client() as client:
        return [client.post(url, json=BODY).status_code for _ in range(times)]


def fail(up) -> None:
    """Requests that never reach a replica, since there is none, until that burns."""

    def burning() -> bool:
        for pid in up.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        ask(up, 5)
        return bool(up.call("GET", "/v1/endpoints/digits")["slos"][0]["severity"])

    until(burning)


def heal(up) -> None:
    """Good requests, until nothing burns any more."""
    until(up.pids)

    def calm() -> bool:
        assert ask(up, 25).count(200) == 25
        time.sleep(1)
        return not up.call("GET", "/v1/endpoints/digits")["slos"][0]["severity"]

    until(calm)


def argosy(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "argosy", *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_page_comes_and_is_resolved_and_a_mute_holds(ops, site):
    fail(ops)
    until(lambda: site.seen)
    assert (site.seen[0][0], site.bodies[0]["severity"], site.bodies[0]["endpoint"]) == ("/secret", "page", "digits")
    assert "requests were bad" in site.bodies[0]["reason"]
    (alert,) = ops.call("GET", "/v1/alerts")
    assert (alert["id"], alert["state"]) == (site.bodies[0]["incident"], "firing")
    assert alert["id"] in argosy("alerts", "ls", "--endpoint", "digits")
    assert "times over" in argosy("alerts", "ls")
    assert "page: " in argosy("ps", "digits")

    heal(ops)
    until(lambda: len(site.seen) == 2)
    assert (site.bodies[1]["incident"], site.bodies[1]["status"]) == (alert["id"], "resolved")
    assert argosy("alerts", "ls") == "nothing is wrong\n"

    argosy("alerts", "mute", alert["id"], "--for", "4h", "--reason", "known")
    fail(ops)
    muted = until(lambda: [each for each in ops.call("GET", "/v1/alerts") if each["state"] == "muted"])
    assert muted[0]["id"] != alert["id"]
    assert "muted until" in argosy("alerts", "ls")
    (entry,) = [each for each in ops.call("GET", "/v1/history/digits") if each["event"] == "mute"]
    assert (entry["reason"], entry["body"]["alert"]) == ("known", alert["id"])
    time.sleep(3)
    assert len(site.seen) == 2

    argosy("alerts", "mute", muted[0]["id"], "--for", "0")
    until(lambda: len(site.seen) == 3)
    assert (site.bodies[2]["incident"], site.bodies[2]["status"]) == (muted[0]["id"], "firing")


@pytest.mark.slow
def test_a_controller_that_is_killed_loses_no_notice_and_tells_none_twice(ops, site, start):
    site.statuses = [503] * 1000
    fail(ops)
    until(lambda: site.seen)
    ops.kill()
    site.statuses.clear()
    time.sleep(0.5)
    tries = len(site.seen)
    again = start(CALM_UP).ready()
    until(lambda: len(site.seen) > tries)
    time.sleep(6)
    assert len(site.seen) == tries + 1
    assert len({each["id"] for each in site.bodies}) == 1
    until(lambda: [each["severity"] for each in again.call("GET", "/v1/endpoints/digits")["slos"]] == ["page"])
    assert [each["state"] for each in again.call("GET", "/v1/alerts")] == ["firing"]


@pytest.mark.slow
def test_a_standby_on_another_home_goes_on_with_the_same_incident(
    home, start, site, monkeypatch, postgres, tmp_path_factory
):
    settings = SETTINGS + f"store: {{database: '{stores.schema(postgres)}'}}\n"
    leader = begun(home, start, site, monkeypatch, settings)
    other = Home(tmp_path_factory.mktemp("h")).create()
    other.config.write_text(settings)
    standby = Up(other, STANDBY)
    try:
        until(lambda: "standby" in standby.out.read_text())
        site.statuses = [503] * 1000
        fail(leader)
        until(lambda: site.seen)
        leader.kill()
        site.statuses.clear()
        tries = len(site.seen)
        standby.ready()
        until(lambda: len(site.seen) > tries)
        time.sleep(5)
        assert len({each["id"] for each in site.bodies}) == 1
        assert [each["state"] for each in standby.call("GET", "/v1/alerts")] == ["firing"]
        assert standby.stop() == 0
    finally:
        if standby.process.poll() is None:
            standby.kill()
        clear(other)


@pytest.mark.slow
def test_trying_the_sinks_and_bad_requests(ops, site):
    assert "127.0.0.1 answered 200" in argosy("alerts", "test")
    assert (site.bodies[0]["endpoint"], site.bodies[0]["title"]) == ("argosy", "Argosy tries this sink")
    site.statuses = [500]
    (answer,) = ops.call("POST", "/v1/alerts/test", {"sink": "ops"})
    assert (answer["taken"], "answered 500" in answer["said"]) == (False, True)
    assert ops.call("GET", "/v1/alerts/sinks") == [
        {"name": "ops", "kind": "webhook", "waiting": 0, "lost": 0, "error": ""}
    ]
    asked = {
        "/v1/alerts/test": [({"sink": "none"}, 404, "there are ops"), ({"sinks": "ops"}, 400, "did you mean 'sink'")],
        "/v1/alerts/mute": [
            ({"alert": "none", "seconds": 60}, 404, "there is no alert"),
            ({"alert": "x", "seconds": -1}, 400, "seconds must be 0 to"),
            ({"alert": "x", "seconds": 1e9}, 400, "90 days"),
            ({"alert": "x", "seconds": 1, "reason": "x" * 5000}, 400, "length <= 4000 - at `$.reason`"),
        ],
    }
    for path, cases in asked.items():
        for body, status, told in cases:
            answer = ops.ask("POST", path, json=body)
            assert (answer.status_code, told in answer.text) == (status, True), answer.text
    assert ops.ask("GET", "/v1/alerts?limit=0").status_code == 400
    assert ops.call("GET", "/v1/alerts", endpoint="none") == []


def test_bad_sinks_are_refused_at_the_start(home, start):
    home.config.write_text("alerts: {ops: {kind: webhook, url: $NOT_SET_ANYWHERE}}\n")
    up = start()
    assert up.process.wait(60) == 2
    assert "alerts.ops: the variable NOT_SET_ANYWHERE is not set" in up.out.read_text()
