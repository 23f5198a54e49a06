"""`argosy-edge` as a user runs it, against a real platform: updates, a bad one, kills, and no platform at all."""

import http.client
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from argosy.cli.main import argosy
from argosy.spec.package import ModelManifest
from argosy_edge.slots import Slots
from argosy_edge.state import State
from tests.distributions.edge.packages import ROWS, SCORES, SIGNATURE, WEIGHTS, classifier, written
from tests.platform.up import home, start, store, until
from tests.ports import free
from tests.store.samples import model_lineage

__all__ = ["home", "start", "store"]
pytestmark = pytest.mark.slow

AGENT = [sys.executable, "-c", "from argosy_edge.main import main; main()"]
DECLARED = "{fleet: pumps, waves: [{}], seconds: 0, reports: 1, trial: {rows: 20, seconds: 1}}"


class Agent:
    """One device's folder, and the process that runs it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free()
        self.out = folder.with_suffix(".out")
        self.process: subprocess.Popen[bytes] | None = None

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*AGENT, *words, "--home", str(self.folder)], capture_output=True, text=True, check=False)

    def run(self) -> None:
        with self.out.open("ab") as out:
            words = [*AGENT, "run", "--home", str(self.folder), "--port", str(self.port)]
            self.process = subprocess.Popen(words, stderr=out, start_new_session=True)

    def end(self, number: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(60)

    def status(self) -> dict[str, Any]:
        return json.loads(self.call("status", "--json").stdout)

    @property
    def state(self) -> State:
        return Slots(self.folder).read(put_aside=False)[0]

    def committed(self) -> int:
        found = self.state.content
        return found.index if found else 0

    def answer(self) -> dict[str, Any]:
        """What it answers; empty where that is an error, or nothing."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            row = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": ROWS[0].tolist()}
            connection.request("POST", "/v2/models/m/infer", json.dumps({"inputs": [row]}))
            answer = connection.getresponse()
            body = answer.read()
        except OSError:
            return {}
        finally:
            connection.close()
        return json.loads(body) if answer.status == 200 else {}

    def serves(self, version: str) -> bool:
        return self.answer().get("model_version") == version

    @contextmanager
    def asked(self) -> Iterator[list[bool]]:
        """While somebody asks it without a pause: whether it answers."""
        over, found = threading.Event(), []

        def ask() -> None:
            while not over.wait(0.02):
                found.append(bool(self.answer()))

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            yield found
        finally:
            over.set()
            thread.join()


@pytest.fixture
def agent(tmp_path):
    found = Agent(tmp_path / "device")
    yield found
    if found.process is not None and found.process.poll() is None:
        found.process.kill()
        found.process.wait()


@pytest.fixture
def models(store, tmp_path):
    """m:1, m:2 which is as good, and m:3 with permuted classes."""
    near = {"w": WEIGHTS * np.float32(1.1)}
    made = [
        classifier(tmp_path / "1", name="m"),
        written(tmp_path / "2", SCORES, near, SIGNATURE, {"x": ROWS}, "m"),
        classifier(tmp_path / "3", order=(2, 0, 1), name="m"),
    ]
    for number, manifest in enumerate(made, 1):
        whole = msgspec.convert(manifest, ModelManifest)
        store.add(tmp_path / str(number), name="m", manifest=whole, lineage=model_lineage())


def test_a_device_from_its_enrolment_through_updates_kills_and_outages(
    home, models, start, agent, monkeypatch, tmp_path
):
    monkeypatch.setenv("ARGOSY_HOME", str(home.root))
    platform = start().ready()
    declared = tmp_path / "deployment.yaml"
    declared.write_text(DECLARED)

    def fleet(*words: str) -> str:
        found = CliRunner().invoke(argosy, ["fleet", *words])
        assert found.exit_code == 0, found.output
        return found.stdout

    assert agent.call("run").returncode == 4
    fleet("create", "pumps")
    token = json.loads(fleet("token", "pumps", "--json"))
    wrong = agent.call("enrol", token["url"], "--fleet", "pumps", "--token", "argosy-device-x")
    assert wrong.returncode == 3, wrong.stderr
    done = agent.call("enrol", token["url"], "--fleet", "pumps", "--token", token["token"])
    assert done.returncode == 0, done.stderr
    agent.run()
    lock = agent.folder / "lock"
    until(lambda: lock.exists() and lock.read_text().strip() == str(agent.process.pid))
    second = agent.call("run", "--port", "0")
    assert second.returncode == 5
    assert f"has an agent already, process {agent.process.pid}: end it first" in second.stderr

    fleet("deploy", "pumps", "m:1", "-f", str(declared))
    until(lambda: agent.serves("1"))
    with agent.asked() as answered:
        fleet("deploy", "pumps", "m:2", "-f", str(declared))
        until(lambda: agent.serves("2"))
    assert answered
    assert all(answered)
    until(lambda: agent.committed() == 2)

    with agent.asked() as answered:
        fleet("deploy", "pumps", "m:3", "-f", str(declared))
        until(lambda: agent.state.denied)
        until(lambda: agent.state.phase == "idle")
    assert all(answered)
    assert "agreement: 0.0%" in agent.status()["denied"][0]["why"]
    assert agent.serves("2")
    until(lambda: json.loads(fleet("status", "pumps", "--json"))[0]["state"] == "stopped")

    agent.end(signal.SIGKILL)
    assert platform.stop() == 0
    agent.run()
    until(lambda: agent.serves("2"))
    until(lambda: "the platform cannot be reached" in agent.out.read_text())
    assert agent.end(signal.SIGTERM) == 0
    assert agent.call("factory").returncode == 0
    assert agent.call("factory").returncode == 5
    (agent.folder / "slots" / agent.state.committed / "model.onnx").write_bytes(b"rot")
    agent.run()
    until(lambda: agent.serves("2"))
    assert agent.committed() == 0
