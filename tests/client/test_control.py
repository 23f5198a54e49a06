import msgspec
import pytest

from argosy.client.control import ControlClient
from argosy.spec import errors
from argosy.spec.settings import Home


@pytest.fixture
def place(tmp_path):
    return Home(tmp_path).create()


def announce(place, url, pid=1):
    (place.run / "control.json").write_bytes(msgspec.json.encode({"url": url, "pid": pid, "started": 0.0}))
    (place.run / "token").write_text("secret\n")


@pytest.fixture
def control(server, place):
    import os

    def start(answer):
        there = server(answer)
        announce(place, there.url, os.getpid())
        return there, ControlClient(place, timeout=5)

    return start


def test_calls(control):
    there, client = control(lambda request: (200, {}, b'[{"a": 1}]'))
    assert client.endpoints() == [{"a": 1}]
    assert client.put("/v1/endpoints/x", {"b": 2}, wait=3, other=None) == [{"a": 1}]
    client.endpoint("a/b")
    client.delete("/v1/keys/1")
    client.post("/v1/shutdown")
    assert [(request.method, request.path) for request in there.requests] == [
        ("GET", "/v1/endpoints"),
        ("PUT", "/v1/endpoints/x?wait=3"),
        ("GET", "/v1/endpoints/a%2Fb"),
        ("DELETE", "/v1/keys/1"),
        ("POST", "/v1/shutdown"),
    ]
    assert there.requests[1].body == b'{"b":2}'
    assert {request.headers["authorization"] for request in there.requests} == {"Bearer secret"}


def test_errors(control):
    _, client = control(lambda request: (409, {}, b'{"error": "taken", "code": "conflict"}'))
    with pytest.raises(errors.Conflict, match="taken"):
        client.endpoints()


def test_nonsense(control):
    _, client = control(lambda request: (200, {}, b"<html>"))
    with pytest.raises(errors.Internal, match="no JSON"):
        client.endpoints()


def test_nothing_runs(place):
    with pytest.raises(errors.Unavailable, match="argosy up -d"):
        ControlClient(place)
    announce(place, "http://127.0.0.1:1", pid=2**22 + 1)
    with pytest.raises(errors.Unavailable, match="argosy up -d"):
        ControlClient(place)


def test_nobody_listens(place):
    import os

    announce(place, "http://127.0.0.1:1", pid=os.getpid())
    with pytest.raises(errors.Unavailable, match="argosy up -d"):
        ControlClient(place).endpoints()


def test_no_token(place):
    import os

    announce(place, "http://127.0.0.1:1", pid=os.getpid())
    (place.run / "token").unlink()
    with pytest.raises(errors.Unavailable, match="token"):
        ControlClient(place)
