"""`argosy demo --edge`: the networks that it makes, the uplinks that it cuts; all of it in `test_every_step_holds`."""

import json
import socket
import subprocess
import sys
import threading

import numpy as np
import onnxruntime
import pytest

from argosy_examples import edge
from argosy_examples.devices import NAMESPACES, Relay, namespace
from argosy_examples.needs import folder_of

STEPS = ["enrolled", "first", "offline", "good", "bad", "rolled back", "serves", "bytes"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_step_holds():
    command = [sys.executable, "-m", "argosy", "demo", "--edge", "--once", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [(one["name"], one["held"]) for one in found["links"]] == [(step, True) for step in STEPS], done.stderr
    assert 0 < found["sent"]["good"] < found["full"]


def test_networks_of_a_demo_that_was_killed_are_taken_away():
    code = "from argosy_examples.devices import namespace; one = namespace(7); print(one and one.name)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    if (left := done.stdout.strip()) == "None":
        pytest.skip("this process may make no network namespaces: it needs root, and ip of iproute2")
    assert (NAMESPACES / left).exists()
    one = namespace(7)
    assert one is not None
    try:
        assert not (NAMESPACES / left).exists()
        assert (NAMESPACES / one.name).exists()
    finally:
        one.end()


def answers(path, row):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"bytes": row})[0]


def test_the_good_network_answers_alike_and_the_bad_one_otherwise(tmp_path):
    source = folder_of("magika") / "models" / "standard_v3_3" / "model.onnx"
    rows = np.random.default_rng(0).integers(0, 256, (30, 2048), dtype=np.int32)
    before = answers(source, rows).argmax(axis=1)
    for change, alike in ((edge.trained, 0.9), (edge.permuted, 0.0)):
        edge.changed(source, tmp_path / "other.onnx", change)
        share = (answers(tmp_path / "other.onnx", rows).argmax(axis=1) == before).mean()
        assert share >= alike if alike else share < 0.5


@pytest.fixture
def echo():
    """A gateway that says what it hears."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                one, _ = server.accept()
            except OSError:
                return
            while data := one.recv(100):
                one.sendall(data)
            one.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}"
    server.shutdown(socket.SHUT_RDWR)
    server.close()


def test_an_uplink_that_is_cut_lets_nothing_through_until_it_is_mended(echo):
    relay = Relay(echo)
    host, port = relay.url.removeprefix("http://").split(":")

    def heard(one, data):
        one.sendall(data)
        return one.recv(100)

    with socket.create_connection((host, int(port)), 10) as one:
        assert heard(one, b"hello") == b"hello"
        relay.cut()
        assert one.recv(100) == b""
    with socket.create_connection((host, int(port)), 10) as one:
        assert one.recv(100) == b""
    relay.mend()
    with socket.create_connection((host, int(port)), 10) as one:
        assert heard(one, b"again") == b"again"
    assert relay.received == 10
    relay.end()
