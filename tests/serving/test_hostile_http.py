"""What a hostile HTTP/1 client can try on one connection or with many: each is answered or ended, and holds nothing."""

import contextlib
import json
import socket

import pytest

from argosy.serving.connection import HIGH_WATER, MAX_HEADERS
from argosy.spec.endpoint import Runtime
from tests.serving.engines import Identity
from tests.serving.test_connection import BODY, PATH, Client, ok, refused, request, wait_for

LIVE = b"GET /v2/health/live HTTP/1.1\r\nhost: localhost\r\n%s\r\n"


@pytest.fixture(scope="module")
def replica():
    from tests.serving.conftest import RunningReplica

    runtime = Runtime(max_body_bytes=1_000_000, body_timeout=1.0)
    with RunningReplica({"m": Identity()}, runtime=runtime, grpc=False) as running:
        yield running


@pytest.fixture
def client(replica):
    with Client(replica) as found:
        yield found


def connections(replica):
    return set(replica.replica._http._connections)


def ended(client):
    """Whether the other side closes, whatever it still says."""
    client.socket.settimeout(20)
    try:
        while client.socket.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


def test_answers_that_nobody_reads_stop_the_requests(replica):
    """Pipelined requests with large answers: begun no further than what the buffer holds, then the client is ended."""
    large = request(json.dumps(row(100_000)).encode())
    served = replica.replica.plane.get("m")
    before = served.stats.success
    with Client(replica) as greedy:
        greedy.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        greedy.socket.settimeout(3)
        with pytest.raises((TimeoutError, ConnectionError)):
            greedy.send(large * 200)
        held = connections(replica)
        assert served.stats.success - before < 60
        assert all(c._transport.get_write_buffer_size() < HIGH_WATER + 2_000_000 for c in held)
        wait_for(lambda: not any(c._blocked for c in connections(replica)), 60)


def row(count):
    return {"inputs": [{"name": "x", "shape": [1, count], "datatype": "FP32", "data": [0.5] * count}]}


def test_a_slow_reader_gets_everything(run_replica):
    replica = run_replica({"m": Identity()}, runtime=Runtime(max_body_bytes=1_000_000), grpc=False)
    body = json.dumps(row(90_000)).encode()
    with Client(replica, timeout=30) as slow:
        for _ in range(4):
            slow.send(request(body))
        for _ in range(4):
            status, _, answer = slow.answer()
            assert status == 200
            assert len(json.loads(answer)["outputs"][0]["data"]) == 90_000


def test_many_pipelined_requests_are_all_answered_one_each_turn(run_replica):
    replica = run_replica({"m": Identity()}, runtime=Runtime(max_body_bytes=1_000_000), grpc=False)
    with Client(replica, timeout=30) as client:
        client.send(LIVE % b"" * 3000 + request())
        for _ in range(3000):
            assert client.answer()[0] == 200
        ok(client.answer())


@pytest.mark.parametrize("upgrade", [b"websocket", b"h2c", b"h2c, TLS/1.0"])
def test_upgrade_is_not_a_way_to_stay(replica, client, upgrade, caplog):
    client.send(LIVE % (b"connection: upgrade, http2-settings\r\nupgrade: %s\r\n" % upgrade) + b"\x81\x05hello")
    status, headers, _ = client.answer()
    assert (status, headers["connection"]) == (200, "close")
    assert ended(client)
    assert not caplog.records


def test_upgrade_with_a_body_is_refused(client):
    refused(client.ask(request(head=b"connection: upgrade\r\nupgrade: h2c\r\n")), 501, "leave 'Upgrade' out")
    assert ended(client)


@pytest.mark.parametrize(
    "hostile",
    [
        b"CONNECT example.org:443 HTTP/1.1\r\nhost: localhost\r\n\r\nxyz",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
        b"GET / HTTP/1.1\r\nhost: localhost\r\na: b\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\nhost: localhost\n\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\na: b\rc: d\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\0b\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost : x\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: +1\r\n\r\na",
        b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: " + b"9" * 6000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 18446744073709551615\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\na",
        b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1, 1\r\n\r\na",
        b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: gzip\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n-1\r\n",
        b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n" + b"f" * 20 + b"\r\n",
        b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n1\na\n0\n\n",
    ],
)
def test_what_is_no_request_is_refused_and_ended(client, hostile):
    client.send(hostile)
    assert 400 <= client.answer()[0] < 600
    assert ended(client)


def test_headers_are_counted(client):
    lines = b"".join(b"a%d:\r\n" % n for n in range(MAX_HEADERS + 2))
    refused(client.ask(LIVE % lines), 431, f"more than {MAX_HEADERS} headers")
    assert ended(client)


def test_a_header_again_and_again_is_bounded(client):
    refused(client.ask(LIVE % (b"a:\r\n" * 12_000)), 431, "a repeated header has more than")
    assert ended(client)


CHUNKED = b"POST %s HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n" % PATH
WHOLE = b"%x\r\n%s\r\n" % (len(BODY), BODY)


@pytest.mark.parametrize(
    ("tail", "text"),
    [
        (b"0\r\n" + b"".join(b"a%d: b\r\n" % n for n in range(200)), "more than 128 headers"),
        (b"0\r\n" + b"a: b\r\n" * 4000, "a repeated header"),
        (b"0\r\na: " + b"b" * 200_000, "framing and trailers"),
        (b"1;" + b"a" * 200_000, "framing and trailers"),
        (b"1;a=b\r\n \r\n" * 1000 + b"1;" + b"a" * 200_000, "framing and trailers"),
    ],
)
def test_trailers_and_chunk_extensions_are_bounded(client, tail, text):
    client.send(CHUNKED + WHOLE)
    with contextlib.suppress(ConnectionError):
        client.send(tail)
    refused(client.answer(), 431, text)


def test_trailers_are_no_headers(client):
    ok(client.ask(CHUNKED + WHOLE + b"0\r\ncontent-encoding: br\r\nx-request-timeout-ms: 0\r\n\r\n"))
    ok(client.ask(request()))


def test_a_body_in_tiny_chunks(client):
    ok(client.ask(CHUNKED + b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\n\r\n"))


def test_continue_is_not_said_before_the_answer_of_another(run_replica):
    engine = Identity()
    replica = run_replica({"m": engine}, inline=False, grpc=False)
    engine.gate.clear()
    with Client(replica) as client:
        client.send(request())
        wait_for(lambda: engine.calls)
        client.send(request(head=b"expect: 100-continue\r\n"))
        engine.gate.set()
        ok(client.answer())
        ok(client.answer())


def test_half_closed_connections_do_not_stay(replica):
    with Client(replica) as client:
        client.send(LIVE % b"" * 50)
        client.socket.shutdown(socket.SHUT_WR)
        for _ in range(50):
            assert client.answer()[0] == 200
        assert client.file.read() == b""


def test_a_whole_request_finds_a_place_among_unfinished_ones(run_replica):
    """All places are held by half a head each: whoever sends a whole request is answered, and so are 50 in a row."""
    replica = run_replica({"m": Identity()}, grpc=False)
    listener = replica.replica._http
    listener._most = 40
    held = []
    try:
        for _ in range(60):
            half = socket.create_connection((replica.http.host, replica.http.port))
            half.sendall(b"GET /v2 HTTP/1.1\r\nhost:")
            held.append(half)
        wait_for(lambda: len(listener._connections) == 40)
        for _ in range(50):
            with Client(replica) as client:
                ok(client.ask(request()))
        assert len(listener._connections) <= 40
    finally:
        for half in held:
            half.close()


def test_busy_connections_are_never_ended_for_a_new_one(run_replica):
    engine = Identity()
    replica = run_replica({"m": engine}, inline=False, grpc=False)
    replica.replica._http._most = 3
    engine.gate.clear()
    clients = [Client(replica) for _ in range(3)]
    try:
        for client in clients:
            client.send(request())
        wait_for(lambda: replica.replica.plane.get("m").inflight == 3)
        with Client(replica) as late:
            assert ended(late)
        engine.gate.set()
        for client in clients:
            ok(client.answer())
    finally:
        engine.gate.set()
        for client in clients:
            client.__exit__()


def test_long_paths_are_not_remembered(client):
    from argosy.serving import http

    before = http.parse.cache_info().currsize
    for n in range(20):
        assert client.ask(b"GET /%s%d HTTP/1.1\r\nhost: localhost\r\n\r\n" % (b"a" * 30_000, n))[0] == 404
    assert http.parse.cache_info().currsize == before
