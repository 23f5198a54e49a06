import asyncio
import json
import os
import socket
import subprocess
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from argosy.cli import checks
from argosy.platform.lock import Lock
from argosy.spec import install
from argosy.spec.settings import Home, KubernetesSettings, Settings
from tests.targets.kubernetes.hostile import Request, answer, hostile


@pytest.fixture
def any_ports(monkeypatch):
    monkeypatch.setenv("ARGOSY_GATEWAY_PORT", "0")
    monkeypatch.setenv("ARGOSY_CONTROL_PORT", "0")


def test_a_good_machine(run, any_ports):
    result = run("doctor", "--json")
    assert result.exit_code == 0, result.stdout
    found = msgspec.json.decode(result.stdout)
    assert found["ok"]
    byname = {check["name"]: check for check in found["checks"]}
    assert byname["python"]["status"] == byname["registry"]["status"] == byname["envoy"]["status"] == "ok"
    assert "1.40" in byname["envoy"]["found"]


def test_a_taken_port_fails(run, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("ARGOSY_CONTROL_PORT", "0")
        monkeypatch.setenv("ARGOSY_GATEWAY_PORT", str(taken.getsockname()[1]))
        result = run("doctor")
    assert result.exit_code == 1
    assert "Address already in use" in result.stdout
    assert "ARGOSY_GATEWAY_PORT" in result.stdout


def test_bad_settings_fail(run, monkeypatch):
    monkeypatch.setenv("ARGOSY_GATEWAY_PORT", "many")
    result = run("doctor")
    assert result.exit_code == 1
    assert "Expected `int`" in result.stdout


def test_missing_extra_names_the_command(monkeypatch):
    there = checks.distributions
    gone = ("xgboost", "xgboost-cpu", "duckdb")
    monkeypatch.setattr(checks, "distributions", lambda name: [] if name in gone else there(name=name))
    found = {check.name: check for check in checks.extras()}
    assert found["extra xgboost"].status == "warn"
    assert found["extra xgboost"].fix == f"pip install {install.extras('xgboost')}"
    assert found["extra monitoring"].found == "without duckdb"
    assert "pyarrow" in found["extra batch"].found


def test_every_extra_of_the_package_is_named():
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    declared = {f"extra {name}" for name in project["optional-dependencies"]}
    assert {check.name for check in checks.extras()} == declared


def test_home_others_can_read(tmp_path):
    tmp_path.chmod(0o755)
    assert checks.writable(Home(tmp_path)).status == "warn"


def test_home_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    assert checks.writable(Home(tmp_path / "file" / "home")).status == "fail"


def test_long_path():
    assert checks.sockets(Home(checks.Path("/" + "x" * 100))).status == "fail"


def test_no_envoy(tmp_path):
    (tmp_path / "envoy").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "envoy").chmod(0o755)
    broken = Settings(gateway=checks.msgspec.structs.replace(Settings().gateway, envoy=str(tmp_path / "envoy")))
    assert checks.envoy(broken).status == "fail"
    missing = Settings(gateway=checks.msgspec.structs.replace(Settings().gateway, envoy="/none"))
    assert "not an executable" in checks.envoy(missing).found


def test_database_that_does_not_answer(tmp_path):
    store = checks.msgspec.structs.replace(Settings().store, database="sqlite:////none/at/all.db")
    assert checks.database(Home(tmp_path), Settings(store=store)).status == "fail"


def test_dead_platform_is_no_platform(tmp_path):
    place = Home(tmp_path).create()
    (place.run / "control.json").write_text('{"url": "http://127.0.0.1:1", "pid": 999999999, "started": 0}')
    assert checks.running(place) is None
    assert checks.absent(place).found == "it ended without cleaning up"
    with Lock(place):
        assert f"process {os.getpid()} holds the lock" in checks.absent(place).found


def test_what_replicas_would_compile_at_each_start_is_said_and_the_command_mends_it(tmp_path, monkeypatch):
    package = tmp_path / "made up" / "argosy_made_up"
    (package / "inner").mkdir(parents=True)
    for name in ("__init__.py", "one.py", "inner/two.py"):
        (package / name).write_text("x = 1\n")
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.setattr(checks, "REPLICA", ("argosy_made_up", "argosy_not_there"))
    found = checks.compiled()
    assert (found.status, "3 modules of argosy_made_up" in found.found) == ("warn", True)
    subprocess.run(found.fix, shell=True, check=True)
    assert checks.compiled().status == "ok"
    (package / "one.py").write_text("x = 1234\n")
    assert "1 modules of argosy_made_up" in checks.compiled().found
    subprocess.run(found.fix, shell=True, check=True)
    assert checks.compiled().status == "ok"


def test_what_holds_for_a_user_who_is_not_root_is_said(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    found = {check.name: check for check in checks.sandboxed()}
    assert "the platform's user 1000, which is not root" in found["sandbox own user"].found
    assert "tasks of all that this user runs" in found["sandbox bounds"].found


async def test_a_cluster_that_is_set(tmp_path):
    """What it says of itself, and what may not be done in it."""

    async def answers(request: Request) -> AsyncIterator[bytes]:
        if request.path == "/version":
            yield answer(200, {"gitVersion": version})
            return
        asked = json.loads(request.body)["spec"]["resourceAttributes"]
        assert asked["namespace"] == "n"
        yield answer(201, {"status": {"allowed": asked["resource"] != "secrets" or version == "v1.37.2"}})

    async with hostile(answers) as server:
        cluster = {"name": "s", "cluster": {"server": server.url}}
        context = {"name": "c", "context": {"cluster": "s", "namespace": "n"}}
        file = tmp_path / "config"
        file.write_text(json.dumps({"current-context": "c", "clusters": [cluster], "contexts": [context]}))
        settings = Settings(kubernetes=KubernetesSettings(kubeconfig=str(file)))
        version = "v1.37.2"
        good = await asyncio.to_thread(lambda: list(checks.cluster(settings)))
        assert [check.status for check in good] == ["ok", "ok", "ok"]
        assert good[0].found == f"v1.37.2  {server.url}, namespace n"
        version = "v1.32.9"
        bad = await asyncio.to_thread(lambda: list(checks.cluster(settings)))
        assert [check.status for check in bad] == ["fail", "ok", "fail"]
        assert bad[0].fix == "Argosy needs Kubernetes 1.33 or later"
        assert "from 1.35 on" in bad[1].found
        assert bad[2].found == "may not create secrets, patch secrets"


def test_a_cluster_that_cannot_be_used(tmp_path):
    settings = Settings(kubernetes=KubernetesSettings(kubeconfig=str(tmp_path / "absent")))
    [check] = checks.cluster(settings)
    assert (check.status, check.found) == ("fail", f"kubernetes.kubeconfig: {tmp_path / 'absent'} is not there")
    assert list(checks.cluster(Settings())) == []
