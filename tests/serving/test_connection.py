"""What arrives on the socket: in pieces, malformed, too large, too slow, and from clients that leave."""

import json
import socket
import time

import pytest

from argosy.spec.endpoint import Runtime
from tests.serving.engines import Identity

BODY = json.dumps({"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}).encode()
PATH = b"/v2/models/m/infer"


def request(body=BODY, path=PATH, method=b"POST", head=b"", version=b"1.1"):
    return b"%s %s HTTP/%s\r\nhost: localhost\r\ncontent-length: %d\r\n%s\r\n%s" % (
        method,
        path,
        version,
        len(body),
        head,
        body,
    )


class Client:
    """A raw socket that reads whole answers."""

    def __init__(self, replica, timeout=60):
        self.socket = socket.create_connection((replica.http.host, replica.http.port), timeout=timeout)
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def answer(self):
        line = self.file.readline()
        if not line:
            return None, {}, b""
        headers = {}
        while (text := self.file.readline().strip()) != b"":
            name, _, value = text.partition(b":")
            headers[name.decode().lower()] = value.strip().decode()
        return int(line.split()[1]), headers, self.file.read(int(headers.get("content-length", 0)))

    def ask(self, data):
        self.send(data)
        return self.answer()


@pytest.fixture
def replica(run_replica):
    return run_replica({"m": Identity()}, runtime=Runtime(max_body_bytes=10_000), grpc=False)


@pytest.fixture
def client(replica):
    with Client(replica) as found:
        yield found


def ok(answer):
    status, headers, body = answer
    assert status == 200, body
    assert headers["content-type"] == "application/json"
    assert json.loads(body)["outputs"][0]["data"] == [1.0, 2.0]


def refused(answer, status, text):
    assert answer[0] == status
    assert answer[1]["content-type"] == "application/json"
    assert text in json.loads(answer[2])["error"]


def test_keep_alive_and_date(client):
    for _ in range(3):
        ok(client.ask(request()))
    assert client.ask(request())[1]["date"].endswith("GMT")


def test_byte_by_byte(client):
    for byte in request():
        client.send(bytes([byte]))
    ok(client.answer())


def test_pipelined_requests_are_answered_in_order(client):
    unknown = request(path=b"/v2/models/q/infer")
    client.send(request() + unknown + request() + request(b"{", path=PATH))
    ok(client.answer())
    refused(client.answer(), 404, "unknown model 'q'")
    ok(client.answer())
    refused(client.answer(), 400, "not valid JSON")
    ok(client.ask(request()))


def test_chunked(client):
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (BODY[:7], BODY[7:])) + b"0\r\n\r\n"
    ok(client.ask(b"POST %s HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n" % PATH + chunks))


def test_close_and_http_1_0(replica):
    with Client(replica) as client:
        status, headers, _ = client.ask(request(head=b"connection: close\r\n"))
        assert (status, headers["connection"]) == (200, "close")
        assert client.file.read() == b""
    with Client(replica) as client:
        ok(client.ask(request(version=b"1.0")))
        assert client.file.read() == b""


def test_expect_continue(client):
    head = request(head=b"expect: 100-continue\r\n")[: -len(BODY)]
    client.send(head)
    assert client.file.readline() == b"HTTP/1.1 100 Continue\r\n"
    client.file.readline()
    client.send(BODY)
    ok(client.answer())


def test_head_gets_no_body(client):
    client.send(request(b"", path=b"/v2", method=b"HEAD"))
    assert client.file.readline().split()[1] == b"200"


@pytest.mark.parametrize(
    "garbage", [b"\x16\x03\x01\x02\x00", b"nonsense\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"POST  HTTP/1.1\r\n\r\n"]
)
def test_garbage(client, garbage):
    refused(client.ask(garbage), 400, "no HTTP request")
    assert client.file.read() == b""


def test_smuggling_is_refused(client):
    both = b"content-length: 5\r\ntransfer-encoding: chunked\r\n"
    client.send(b"POST %s HTTP/1.1\r\nhost: localhost\r\n%s\r\n0\r\n\r\n" % (PATH, both))
    assert client.answer()[0] == 400


def test_declared_body_too_large_is_refused_before_it_is_sent(client):
    client.send(b"POST %s HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10001\r\n\r\n" % PATH)
    refused(client.answer(), 413, "10001 bytes; at most 10000")


def test_chunked_body_too_large(client):
    client.send(b"POST %s HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n" % PATH)
    client.send(b"2800\r\n" + b" " * 0x2800 + b"\r\n")
    refused(client.answer(), 413, "more than 10000")


def test_decompression_bomb(client):
    import gzip

    bomb = gzip.compress(b" " * 1_000_000)
    refused(client.ask(request(bomb, head=b"content-encoding: gzip\r\n")), 413, "when decompressed")


@pytest.mark.parametrize(("encoding", "status"), [(b"br", 415), (b"gzip", 400)])
def test_bad_encodings(client, encoding, status):
    assert client.ask(request(head=b"content-encoding: %s\r\n" % encoding))[0] == status


def test_headers_too_large(client):
    client.send(request(head=b"x: %s\r\n" % (b"a" * 70_000)))
    refused(client.answer(), 431, "more than 65536")


def test_slow_body_and_slow_head(run_replica):
    replica = run_replica({"m": Identity()}, runtime=Runtime(body_timeout=1.0), grpc=False)
    for part in (request()[:-5], request()[:20]):
        with Client(replica) as client:
            client.send(part)
            refused(client.answer(), 408, "did not arrive within 1 s")


def test_client_that_leaves_frees_its_place(run_replica):
    engine = Identity()
    replica = run_replica({"m": engine}, inline=False, grpc=False)
    engine.gate.clear()
    with Client(replica) as first:
        first.send(request())
        wait_for(lambda: engine.calls)
        for _ in range(3):
            with Client(replica) as leaver:
                leaver.send(request())
                wait_for(lambda: model(replica).inflight == 2)
            wait_for(lambda: model(replica).inflight == 1)
            assert model(replica).batcher.queued == 0
        engine.gate.set()
        ok(first.answer())
    assert engine.calls == [1]
    assert model(replica).stats.failures == {"cancelled": 3}


def test_half_closed_client_of_a_fast_model_is_answered(client):
    client.send(request())
    client.socket.shutdown(socket.SHUT_WR)
    ok(client.answer())


def test_drain_answers_what_was_accepted(run_replica):
    engine = Identity()
    engine.gate.clear()
    replica = run_replica({"m": engine}, inline=False, grpc=False)
    with Client(replica) as one, Client(replica) as two:
        one.send(request())
        two.send(request())
        wait_for(lambda: model(replica).inflight == 2)
        replica.loop.call_soon_threadsafe(replica._stop.set)
        wait_for(lambda: replica.replica.plane.draining)
        engine.gate.set()
        ok(one.answer())
        ok(two.answer())


def test_draining_refuses_new_requests(run_replica):
    replica = run_replica({"m": Identity()}, grpc=False)
    replica.replica.plane.draining = True
    with Client(replica) as client:
        answer = client.ask(request())
        refused(answer, 503, "shutting down")
        assert answer[1]["retry-after"] == "1"
        assert client.ask(request(b"", path=b"/v2/health/ready", method=b"GET"))[0] == 503
        assert client.ask(request(b"", path=b"/v2/health/live", method=b"GET"))[0] == 200


def test_hung_engine_is_not_live(run_replica):
    engine = Identity()
    replica = run_replica({"m": engine}, inline=False, grpc=False, runtime=Runtime(hang_timeout=0.1))
    engine.gate.clear()
    with Client(replica) as client, Client(replica) as probe:
        client.send(request())
        wait_for(lambda: probe.ask(request(b"", path=b"/v2/health/live", method=b"GET"))[0] == 503)
        engine.gate.set()
        ok(client.answer())
        assert probe.ask(request(b"", path=b"/v2/health/live", method=b"GET"))[0] == 200


def model(replica):
    return replica.replica.plane.get("m")


def wait_for(condition, timeout=60):
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)
