"""What a platform has spent: on the real one, whose replicas and self are killed."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import httpx
import pytest

from tests.platform.packages import push
from tests.platform.up import until

BODY = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 1, 1, 1]}]}


def command(home, *words):
    environ = {"ARGOSY_HOME": str(home.root)}
    words = [sys.executable, "-m", "argosy", "cost", *words]
    return subprocess.run(words, env=environ, capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
def test_what_is_spent_is_price_times_time_through_kills(home, store, start, tmp_path):
    push(store, tmp_path / "one", 2.0)
    with home.config.open("a") as file:
        file.write("cost: {core: 3600, shared: {gateway: 7200}, shares: {digits: 0.5}}\n")
    platform = start().ready()
    declared = {"model": "digits:1", "replicas": 2, "runtime": {"threads": 1}, "keys": [{"name": "team-a"}]}
    made = platform.call("PUT", "/v1/endpoints/digits", declared, wait=60)
    headers = {"authorization": f"Bearer {made['keys'][0]['key']}"}
    gateway = platform.call("GET", "/v1/status")["gateway"]

    def ask(count):
        for _ in range(count):
            assert httpx.post(f"{gateway}/v2/models/digits/infer", json=BODY, headers=headers).status_code == 200

    def costs(**query):
        return platform.call("GET", "/v1/costs", since=7200, **query)

    def uses():
        return {row["use"]: row for row in costs(by="use")["rows"]}

    spans = {each["id"]: [each["started"]] for each in platform.call("GET", "/v1/replicas")}
    ask(50)
    found = until(lambda: next((row for row in costs(by="key,use")["rows"] if row["name"] == "team-a"), None))
    assert found["use"] == "requests"
    until(lambda: sum(row["requests"] for row in costs()["rows"]) == 50)
    until(lambda: "idle" in uses())
    assert 0 < uses()["requests"]["cost"] < uses()["idle"]["cost"]
    first = min(platform.call("GET", "/v1/replicas"), key=lambda each: each["id"])
    os.kill(first["pid"], signal.SIGKILL)
    ended = time.time()
    platform.kill()
    platform = start().ready()
    until(lambda: len(platform.pids()) == 2)
    now = {each["id"]: each["started"] for each in platform.call("GET", "/v1/replicas")}
    ask(50)
    until(lambda: sum(row["requests"] for row in costs()["rows"]) == 100)
    before = time.time()
    seen = costs(by="use")
    owned = sum(before - began for began in now.values()) + ended - spans[first["id"]][0]
    rows = {row["use"]: row["cost"] for row in seen["rows"]}
    spent = seen["total"] - rows["shared"]
    assert abs(owned - spent) < 60, (
        "two replicas, read every five seconds; when one ended while nobody looked is a guess"
    )
    by = {row["endpoint"]: row["cost"] for row in costs(by="endpoint,use")["rows"] if row["use"] == "shared"}
    assert by["digits"] == pytest.approx(by[""], rel=0.2)
    assert rows.keys() >= {"requests", "idle", "startup", "shared"}

    assert "team-a" in command(home, "--by", "key,day")
    assert json.loads(command(home, "--json"))["unpriced"] == []
    table = list(csv.DictReader(command(home, "--csv", "--by", "use").splitlines()))
    assert {row["use"] for row in table} == rows.keys()
    assert platform.stop() == 0
