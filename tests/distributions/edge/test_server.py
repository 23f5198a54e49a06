"""The server on localhost: the protocol as others judge it, its bounds, and the exchange of the model."""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
import tritonclient.http as triton

from argosy_conformance import run
from argosy_edge import http11, model, server
from argosy_edge.errors import Conflict
from argosy_edge.server import DeviceServer
from tests.distributions.edge.packages import ROWS, classifier, texts

BODY = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 4], "data": ROWS[:2].tolist()}]}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    place = tmp_path_factory.mktemp("packages")
    return {
        "model": model.load(place / "model", classifier(place / "model"), version="3"),
        "other": model.load(place / "other", classifier(place / "other", order=(2, 1, 0)), version="4"),
        "texts": model.load(place / "texts", texts(place / "texts"), version="1"),
    }


@pytest.fixture
def serving():
    """A server without a model."""
    found = DeviceServer(0).start()
    yield found
    found.stop()


@pytest.fixture
def served(serving, loaded):
    serving.swap(loaded["model"])
    return serving


def url(served, path="/v2/models/model/infer"):
    return f"http://127.0.0.1:{served.port}{path}"


def raw(served, data, *, more=b""):
    """What comes back for bytes, until the server closes or a second is over."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=60) as link:
        link.sendall(data)
        if more:
            link.sendall(more)
        link.shutdown(socket.SHUT_WR)
        found = b""
        while part := link.recv(65536):
            found += part
        return found


@pytest.mark.parametrize(
    "name",
    [pytest.param("model", marks=pytest.mark.slow), pytest.param("texts", marks=pytest.mark.slow)],
)
def test_the_conformance_kit_passes_where_it_applies(served, loaded, name):
    served.swap(loaded[name])
    found = run(f"http://127.0.0.1:{served.port}", mode="strict")
    assert [(each.id, each.note) for each in found.results if each.verdict == "failed"] == []
    assert sum(each.verdict == "passed" for each in found.results) > 100


@pytest.mark.parametrize("binary", [True, False])
def test_tritonclient_gets_the_answers(served, loaded, binary):
    with triton.InferenceServerClient(f"127.0.0.1:{served.port}") as client:
        assert client.is_server_live()
        assert client.is_model_ready("model", "3")
        assert client.get_model_metadata("model")["versions"] == ["3"]
        given = triton.InferInput("x", list(ROWS.shape), "FP32")
        given.set_data_from_numpy(ROWS, binary_data=binary)
        wanted = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("scores", "label")]
        answer = client.infer("model", [given], outputs=wanted, request_id="r1")
    want = loaded["model"].answer({"x": ROWS})
    assert answer.get_response()["id"] == "r1"
    assert (answer.as_numpy("label") == want["label"]).all()
    assert np.allclose(answer.as_numpy("scores"), want["scores"], rtol=0, atol=1e-7)


def test_what_metadata_says_of_an_input_may_come_back_with_it(served):
    with httpx.Client(trust_env=False) as client:
        (port,) = client.get(url(served, "/v2/models/model")).json()["inputs"]
        assert port["parameters"]["columns"] == ["a", "b", "c", "d"]
        body = {"inputs": [port | {"shape": [1, 4], "data": [1, 2, 3, 4]}]}
        assert client.post(url(served), json=body).status_code == 200


def test_without_a_model_it_lives_and_is_not_ready(serving):
    with httpx.Client(trust_env=False) as client:
        assert client.get(url(serving, "/v2/health/live")).status_code == 200
        assert client.get(url(serving, "/v2/health/ready")).status_code == 503
        answer = client.post(url(serving), json=BODY)
    assert (answer.status_code, "no model is served yet" in answer.json()["error"]) == (503, True)


def test_a_swap_leaves_no_request_without_an_answer(served, loaded):
    ended, counts = threading.Event(), [0, 0]

    def ask(number):
        statuses, labels = set(), set()
        with httpx.Client(trust_env=False) as client:
            while not ended.is_set():
                answer = client.post(url(served), json=BODY)
                statuses.add(answer.status_code)
                labels.add(answer.json()["model_version"])
                counts[number] += 1
        return statuses, labels

    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(ask, number) for number in range(2)]
        for turn in range(20):
            served.swap(loaded["other" if turn % 2 == 0 else "model"])
            wanted = [each + 2 for each in counts]  # the second of them was asked after the swap
            while any(map(int.__lt__, counts, wanted)) and not any(each.done() for each in asked):
                threading.Event().wait(0.005)
        ended.set()
        found = [each.result() for each in asked]
    assert [statuses for statuses, _ in found] == [{200}, {200}]
    assert set.union(*(labels for _, labels in found)) == {"3", "4"}


def test_it_counts_answers_and_tells_who_watches(served):
    seen = []
    served.observers.append(lambda *words: seen.append(words))
    served.observers.append(lambda *words: 1 / 0)
    with httpx.Client(trust_env=False) as client:
        assert client.post(url(served), json=BODY).status_code == 200
        assert client.post(url(served), json={"inputs": []}).status_code == 400
    arm = served.counted.take()
    assert (arm.requests, arm.errors, sum(arm.latency)) == (1, 0, 1)
    ((asked, inputs, outputs, seconds),) = seen
    assert (asked.name, inputs["x"].shape, sorted(outputs), seconds > 0) == ("model", (2, 4), ["label", "scores"], True)
    assert served.counted.take().requests == 0


class Instead:
    """A candidate that gives these outputs."""

    def __init__(self, outputs):
        self.outputs = outputs

    def beside(self, inputs, outputs, seconds):
        return self.outputs


@pytest.mark.parametrize(
    ("given", "label"),
    [
        ({"label": np.array([7]), "scores": np.zeros((1, 3), "f4")}, 7),
        ({"kind": np.array([7]), "scores": np.zeros((1, 3), "f4")}, None),
        ({"label": np.array(["7"]), "scores": np.zeros((1, 3), "f4")}, None),
        (None, None),
    ],
    ids=["alike", "name", "datatype", "none"],
)
def test_callers_get_a_candidates_answer_if_it_is_what_they_expect(served, loaded, given, label):
    served.candidate = Instead(given)
    found = served.ask({"x": ROWS[:1]}, ("label",))[1]
    assert found == {"label": loaded["model"].answer({"x": ROWS[:1]})["label"] if label is None else label}


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"POST /v2/models/model/infer HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n", 400),
        (b"POST /v2/models/model/infer HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n", 400),
        (b"POST /v2/models/model/infer HTTP/1.1\r\ntransfer-encoding: gzip, chunked\r\n\r\n", 400),
        (b"POST /v2/models/model/infer HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n-1\r\n", 400),
        (b"POST /v2/models/model/infer HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nfffffff\r\n", 413),
        (b"POST /v2/models/model/infer HTTP/1.1\r\ncontent-length: 99999999999\r\n\r\n", 413),
        (b"POST /v2/models/model/infer HTTP/1.1\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nxx", 415),
        (b"GET /v2 HTTP/1.1\r\n" + b"a: " + b"b" * 40_000 + b"\r\n\r\n", 431),
        (b"GET /v2 HTTP/1.1\r\nhost: evil.example\r\n\r\n", 403),
        (b"GET /v2 HTTP/1.1\r\n bad: header\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\na: b\rc: d\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nhost : x\r\n\r\n", 400),
        (b"POST /v2/models/model/infer HTTP/1.1\r\ncontent-length: 1, 1\r\n\r\na", 400),
        (b"CONNECT example.org:443 HTTP/1.1\r\n\r\nxyz", 400),
        (b"GET /v2 HTTP/3.0\r\n\r\n", 400),
        (b"PUT /v2 HTTP/1.1\r\n\r\n", 405),
        (b"GET /v2/" + b"x" * 3000 + b" HTTP/1.1\r\n\r\n", 404),
    ],
    ids=[
        "both",
        "twice",
        "coded",
        "minus",
        "large chunk",
        "terabyte",
        "gzip",
        "head",
        "host",
        "folded",
        "bare return",
        "space",
        "list",
        "connect",
        "version",
        "method",
        "path",
    ],
)
def test_hostile_requests_get_their_status_and_an_error(served, sent, status):
    found = raw(served, sent)
    assert found.startswith(f"HTTP/1.1 {status} ".encode())
    assert b'{"error":"' in found


def test_a_chunked_body_and_pipelined_requests_are_read(served):
    body = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"data":[1,2,3,4]}]}'
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:9], body[9:])) + b"0\r\n\r\n"
    head = b"POST /v2/models/model/infer HTTP/1.1\r\nhost: localhost\r\n"
    found = raw(
        served,
        head + b"expect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n" + chunks,
        more=head + b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body,
    )
    assert found.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")
    assert found.count(b'"label"') == 2


def test_slow_and_many_clients_leave_room_for_others(served, monkeypatch):
    monkeypatch.setattr(server, "SLOWEST", 0.3)
    monkeypatch.setattr(http11, "LINGER", 60.0)
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 4)
    slow = [socket.create_connection(("127.0.0.1", served.port), timeout=60) for _ in range(4)]
    try:
        for link in slow:
            link.sendall(b"POST /v2/models/model/infer HTTP/1.1\r\ncontent-length: 10\r\n\r\nabc")
        refused = raw(served, b"GET /v2 HTTP/1.1\r\n\r\n")
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"4 connections are open" in refused
        assert all(link.recv(20).startswith(b"HTTP/1.1 408 ") for link in slow)
    finally:
        for link in slow:
            link.close()
    with httpx.Client(trust_env=False) as client:
        assert client.post(url(served), json=BODY).status_code == 200


def test_bodies_are_bounded_together(served, monkeypatch):
    monkeypatch.setattr(server, "MOST_HELD", 1000)
    with socket.create_connection(("127.0.0.1", served.port), timeout=60) as link:
        link.sendall(b"POST /v2/models/model/infer HTTP/1.1\r\ncontent-length: 900\r\n\r\nabc")
        while not served._held:
            threading.Event().wait(0.01)
        found = raw(served, b"POST /v2/models/model/infer HTTP/1.1\r\ncontent-length: 200\r\n\r\n")
    assert found.startswith(b"HTTP/1.1 503 ")
    assert b"hold all the memory" in found


def test_a_port_in_use_is_refused(served):
    with pytest.raises(Conflict, match=f"cannot listen on 127.0.0.1 port {served.port}: .*--port"):
        DeviceServer(served.port)
