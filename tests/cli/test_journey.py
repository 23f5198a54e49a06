"""The whole way, as a user goes it: real platform, real gateway, real replicas."""

import os
import re
import signal
import subprocess
import sys

import msgspec
import numpy as np
import pytest

import argosy
from argosy.client import Client
from argosy.spec.errors import Unauthenticated
from tests.cli.models import linear
from tests.platform.up import until


def command(*args):
    return [sys.executable, "-m", "argosy", *map(str, args)]


@pytest.fixture
def good(run):
    """Run a command that must succeed; its JSON."""

    def call(*args):
        result = run(*args, "--json")
        assert result.exit_code == 0, result.stderr
        return msgspec.json.decode(result.stdout)

    return call


def test_models_without_a_platform(run, good, place, tmp_path):
    first = linear(tmp_path / "one.onnx")
    found = good("push", first, "--name", "lin", "--alias", "champion", "--description", "a line")
    assert (found["ref"], found["engine"], found["aliases"]) == ("lin:1", "onnx", ["champion"])
    again = good("push", first, "--name", "lin", "--description", "a line")
    assert (again["digest"], again["unchanged"], found["unchanged"]) == (found["digest"], True, False)
    assert good("push", linear(tmp_path / "two.onnx", weight=2.0), "--name", "lin")["ref"] == "lin:2"

    assert good("models", "ls")[0]["aliases"] == {"champion": 1}
    assert [one["ref"] for one in good("models", "ls", "lin")] == ["lin:1", "lin:2"]
    assert good("models", "show", "lin@champion")["manifest"]["description"] == "a line"
    text = run("models", "show", "lin:1").stdout
    for part in ("lin:1", found["digest"], "onnx", "x  FP32 [-1, 3]", "a line", "golden"):
        assert part in text
    assert "lin" in run("models", "ls").stdout
    assert "lin:2" in run("models", "ls", "lin").stdout

    assert good("models", "verify", "lin:1")["golden_rows"] > 0
    x = np.array([[1, 2, 3]], "f4")
    assert argosy.load("lin:2").predict(x).y.tolist() == [[12]]
    assert argosy.load(str(first)).predict(x).y.tolist() == [[6]]

    assert run("models", "rm", "lin:1").exit_code == 5
    good("models", "alias", "lin@champion", "2")
    assert good("models", "rm", "lin:1")["removed"] == ["lin:1"]
    assert run("models", "show", "lin:1").exit_code == 4
    assert run("models", "alias", "lin@champion").exit_code == 2
    assert good("models", "alias", "lin@champion", "--delete")["number"] is None


def test_what_cannot_be_pushed(run, tmp_path):
    (tmp_path / "empty.onnx").write_bytes(b"")
    assert run("push", tmp_path / "empty.onnx", "--name", "x").exit_code == 7
    assert run("push", tmp_path / "nothing.onnx", "--name", "x").exit_code == 4
    assert run("push", linear(tmp_path / "m.onnx"), "--name", "UPPER").exit_code == 2
    assert run("models", "ls").stdout.startswith("no models yet")


def test_serve(run, place, tmp_path):
    path = linear(tmp_path / "My Model.onnx")
    with subprocess.Popen(
        command("serve", path, "--port", 0, "--threads", 1),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
    ) as process:
        try:
            text = ""
            while text.count("\ncurl") < 4:
                line = process.stdout.readline()
                assert line, process.stderr.read()
                text += line
            url = re.search(r"url +(\S+)", text)[1]
            assert url.endswith("/v2/models/my-model/infer")
            assert "x  FP32 [-1, 3]" in text
            commands = re.findall("^curl .*$", text, re.MULTILINE)
            answers = [subprocess.run(each, shell=True, capture_output=True, check=True).stdout for each in commands]
            *predicted, last = map(msgspec.json.decode, answers)
            assert last["outputs"][0]["shape"] == [1, 1]
            assert predicted == [{"predictions": [last["outputs"][0]["data"]]}] * 3
            base = url.partition("/v2")[0]
            assert f"{base}/docs" in text
            result = run("predict", "my-model", "--url", base, "-d", "[[1, 2, 3], [4, 5, 6]]", "--json")
            assert msgspec.json.decode(result.stdout)["outputs"][0]["data"] == [6, 15]
            with Client(url) as client:
                assert client.predict(None, np.ones((2, 3))).y.tolist() == [[3], [3]]
            judged = run("conformance", base, "--only", "health", "--json")
            assert judged.exit_code == 0
            assert {one["verdict"] for one in msgspec.json.decode(judged.stdout)["results"]} == {"passed"}
            assert "health" in run("conformance", base, "--only", "health").stdout
            taken = base.rpartition(":")[2]
            second = subprocess.run(
                command("serve", path, "--port", taken), capture_output=True, text=True, check=False, env=os.environ
            )
            assert second.returncode == 5
            assert f"port {taken}" in second.stderr
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0


@pytest.fixture
def platform(run, good, place, monkeypatch):
    monkeypatch.setenv("ARGOSY_GATEWAY_PORT", "0")
    monkeypatch.setenv("ARGOSY_CONTROL_PORT", "0")
    started = subprocess.run(command("up", "-d", "--json"), capture_output=True, text=True, check=True, env=os.environ)
    yield msgspec.json.decode(started.stdout)
    assert good("down") == {"stopped": True}
    assert good("down") == {"stopped": False}


def test_platform(run, good, platform, place, tmp_path):
    (tmp_path / "rows.csv").write_text("a,b,c\n1,2,3\n4,5,6\n")
    good("push", linear(tmp_path / "m.onnx"), "--name", "lin")
    assert run("up", "-d").exit_code == 5

    deployed = good("deploy", "lin:1", "--max-batch-size", "8", "--threads", "1")
    assert deployed["endpoint"]["state"] == "ready"
    assert (place.root / "keys" / "lin.json").stat().st_mode & 0o777 == 0o600
    response = good("predict", "lin", "-d", f"@{tmp_path / 'rows.csv'}")
    assert response["outputs"][0]["data"] == [6, 15]
    assert "row" in run("predict", "lin", "-d", "[[1, 2, 3]]").stdout.lower()
    assert run("predict", "lin", "-d", "[[1, 2]]").exit_code == 2
    assert run("predict", "lni", "-d", "[[1, 2, 3]]").exit_code == 4
    with Client(deployed["url"], deployed["key"]) as client:
        assert client.predict(None, [[1, 2, 3]]).y.tolist() == [[6]]
    with Client(deployed["url"]) as client, pytest.raises(Unauthenticated):
        client.predict(None, [[1, 2, 3]])

    good("push", linear(tmp_path / "m2.onnx", weight=2.0), "--name", "lin")
    second = good("deploy", "lin:2", "--replicas", "2")
    assert second["key"] is None
    assert second["endpoint"]["endpoint"]["runtime"]["max_batch_size"] == 8
    assert good("predict", "lin", "-d", "[[1, 2, 3]]")["outputs"][0]["data"] == [12]
    listed = good("ps")
    assert (listed["endpoints"][0]["version"], listed["endpoints"][0]["ready"]) == ("lin:2", 2)
    assert [one["version"] for one in listed["replicas"] if one["phase"] == "ready"] == ["lin:2"] * 2
    table = run("ps", "lin").stdout
    assert "lin:2" in table
    assert "MEMORY" in table
    path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    curl = re.search("^curl .*/endpoints/lin/invocations .*$", table, re.MULTILINE)[0]
    asked = subprocess.run(curl, shell=True, capture_output=True, check=True, env=os.environ | {"PATH": path})
    assert len(msgspec.json.decode(asked.stdout)["predictions"]) == 1
    assert re.search(r"\d MiB", table)
    assert run("models", "rm", "lin:2").exit_code == 5

    assert "is ready" in run("logs", "lin").stdout
    assert "/v2/models/lin/infer" in run("logs", "gateway").stdout
    until(lambda: run("doctor").exit_code == 0)
    made = good("keys", "create", "app", "--scope", "lin", "--rate", "50")
    assert "50/s" in run("keys", "list").stdout
    assert good("predict", "lin", "-d", "[[1, 2, 3]]", "--key", made["key"])["outputs"]
    good("keys", "revoke", made["id"])
    assert run("predict", "lin", "-d", "[[1, 2, 3]]", "--key", made["key"]).exit_code == 3
    assert good("undeploy", "lin") == {"deleted": "lin"}
    assert good("ps")["endpoints"] == []


@pytest.mark.slow
def test_a_declaration_in_a_file(run, good, platform, place, tmp_path):
    for n in (1, 2):
        good("push", linear(tmp_path / f"m{n}.onnx", weight=float(n)), "--name", "lin")
    good("models", "alias", "lin@champion", "1", "-m", "the first")
    file = tmp_path / "endpoints.yaml"
    file.write_text(
        "name: lin\nmodel: lin@champion\nfollow: true\nruntime: {threads: 1}\n---\nname: b\nmodel: lin:2\n"
        "keys: [{name: app, requests_per_second: 50}]\nlimits: {requests: 100}\n"
    )
    planned = run("plan", "-f", file)
    assert planned.exit_code == 11
    assert "  key app is made, and shown once, 50 requests a second\n" in planned.stdout
    assert "  key lin is made, and shown once (no key covers the endpoint)\n" in planned.stdout
    assert "lin: a new endpoint (lin:1, sha256:" in planned.stdout
    applied = run("apply", "-f", file, "-m", "begin")
    assert applied.exit_code == 0, applied.stderr
    assert "lin is ready: lin:1" in applied.stdout
    shown = re.search(r"  key app: (ak_\S+)  \(not shown again; kept in .*b\.json\)", applied.stdout)[1]
    assert good("predict", "b", "-d", "[[1, 2, 3]]", "--key", shown)["outputs"]
    assert (place.root / "keys" / "lin.json").exists()
    assert good("predict", "lin", "-d", "[[1, 2, 3]]")["outputs"][0]["data"] == [6]
    again = run("apply", "-f", file)
    assert again.exit_code == 0
    assert "lin: nothing changes" in again.stdout
    assert run("plan", "-f", file).exit_code == 0

    file.write_text(run("get", "lin").stdout.replace("retries: 1", "retries: 3"))
    assert "  retries: 1 → 3" in run("plan", "-f", "-", input=file.read_bytes()).stdout
    assert run("apply", "-f", file, "--generation", "7").exit_code == 5
    assert good("apply", "-f", file)[0]["changed"]["action"] == "settings"
    file.write_text("name: lin\nmodel: lin@champion\nreplica: 2\n")
    assert "did you mean 'replicas'" in run("plan", "-f", file).stderr

    good("models", "alias", "lin@champion", "2", "-m", "twice as good")
    wait = good("deploy", "lin@champion")
    assert (wait["changed"]["action"], wait["endpoint"]["version"]) == ("nothing", "lin:2")
    assert good("predict", "lin", "-d", "[[1, 2, 3]]")["outputs"][0]["data"] == [12]
    served = good("history", "lin", "--at", "2999-01-01")["served"]
    assert [(one["version"], one["weight"]) for one in served] == [("lin:2", 100)]
    assert "twice as good" in served[0]["reason"]
    text = run("history", "lin").stdout
    for part in ("declare", "serve", "begin", "100 % lin:1", "retries: 1 → 3"):
        assert part in text
    assert "nothing served lin" in run("history", "lin", "--at", "2020-01-01").stdout
    assert "every link holds" in run("history", "--verify").stdout
    assert "made key app" in run("history", "b").stdout
    good("undeploy", "b", "-m", "done")
    assert [path.name for path in (place.root / "keys").iterdir()] == ["lin.json"]
    assert run("predict", "lin", "-d", "[[1, 2, 3]]", "--key", shown).exit_code == 3
    assert "app" not in {one["name"] for one in good("keys", "list") if not one["revoked"]}
    assert good("history", "b")[-1]["reason"] == "done"


@pytest.mark.slow
def test_up_in_the_foreground(place, monkeypatch):
    monkeypatch.setenv("ARGOSY_GATEWAY_PORT", "0")
    monkeypatch.setenv("ARGOSY_CONTROL_PORT", "0")
    with subprocess.Popen(command("up"), stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        text = ""
        while "control " not in text:
            line = process.stdout.readline()
            assert line
            text += line
        process.send_signal(signal.SIGINT)
        assert process.stdout.read().splitlines()[-1] == "stopped"
        assert process.wait(60) == 0
    assert not (place.run / "control.json").exists()
