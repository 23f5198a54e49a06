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
        return there, ControlClient(place, timeout=60)

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


def by_another_user(place, told):
    """What `running` says to a user who may signal nobody else's process."""
    import subprocess
    import sys

    code = (
        "import os, sys; from pathlib import Path; from argosy.client.control import running\n"
        "from argosy.spec.settings import Home; from argosy.spec.errors import ArgosyError\n"
        "if not os.geteuid(): os.setgroups([]); os.setresuid(65534, 65534, 65534)\n"
        "try: print(running(Home(Path(sys.argv[1]))) is not None)\n"
        "except ArgosyError as error: print(error.code)"
    )
    done = subprocess.run([sys.executable, "-c", code, place.root], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == told, done.stdout + done.stderr


@pytest.fixture
def common():
    """A home that others can read."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory(prefix="c", dir="/tmp") as folder:
        place = Home(Path(folder) / "home").create()
        announce(place, "http://127.0.0.1:1", 1)
        for each in (place.root.parent, place.root, place.run):
            each.chmod(0o755)
        (place.run / "control.json").chmod(0o644)
        yield place


def test_a_platform_of_another_user_runs(common):
    """Process 1 is root's."""
    by_another_user(common, "True")


def test_one_that_cannot_be_read_is_not_called_gone(common):
    common.run.chmod(0)
    by_another_user(common, "permission_denied")
    common.run.chmod(0o700)
