"""What goes wrong behind or before the gateway, and how it is said; and what is tried again."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from argosy.gateway.model import EndpointRoute, Upstream
from argosy.spec.address import Address
from argosy.spec.limits import Limits
from tests.gateway.kit import http, one, revision

INFER = "/v2/models/digits/infer"


def pair(a, b, **fields):
    return EndpointRoute(endpoint="digits", revisions=(revision("r1", "1", a, b, weight=1),), auth=False, **fields)


async def test_a_dead_replica_costs_no_request(gateway, replica, folder):
    a = await replica("a")
    dead = Upstream(replica="dead", http=Address(path=str(folder / "nobody.sock")))
    await gateway.start([pair(a, dead)])
    async with await http(gateway) as client:
        answers = [await client.post(INFER, content=b"x") for _ in range(60)]
    assert {answer.status_code for answer in answers} == {200}


async def test_a_reset_before_the_answer_goes_to_another_replica(gateway, replica):
    a, b = await replica("a"), await replica("b")

    async def hang_up(_):
        return 0, {}, b""

    a.handler = hang_up
    await gateway.start([pair(a, b)])
    async with await http(gateway) as client:
        answers = [await client.post(INFER, content=b"x" * 2_000_000) for _ in range(20)]
    assert {(answer.status_code, answer.json().get("replica")) for answer in answers} == {(200, "b")}
    assert a.seen


async def test_a_request_that_ends_replicas_ends_two_and_is_not_asked_for_again(gateway, replica):
    replicas = [await replica(name) for name in "abc"]

    async def hang_up(_):
        return 0, {}, b""

    for each in replicas:
        each.handler = hang_up
    three = revision("r1", "1", *replicas, weight=1)
    await gateway.start([EndpointRoute(endpoint="digits", revisions=(three,), auth=False)])
    async with await http(gateway) as client:
        answer = await client.post(INFER, content=b"x")
    assert sum(len(each.seen) for each in replicas) == 2
    assert (answer.status_code, answer.headers.get("retry-after")) == (503, None)
    assert "may be what crashes the model" in answer.json()["error"]


async def test_an_escaped_slash_is_named(gateway, replica):
    await gateway.start([one(await replica("a"), auth=False)])
    async with await http(gateway) as client:
        answer = await client.get("/v2/models/a%2Fb")
    assert (answer.status_code, answer.json()) == (
        400,
        {"error": "the path has an escaped slash: no name here has one"},
    )


async def test_the_access_log_is_its_owner_s_alone(gateway, config):
    await gateway.start()
    assert Path(config.access_log_path).stat().st_mode & 0o777 == 0o600


async def test_a_busy_replica_s_requests_go_to_another(gateway, replica):
    a, b = await replica("a"), await replica("b")
    a.handler = busy
    await gateway.start([pair(a, b)])
    async with await http(gateway) as client:
        answers = [await client.post(INFER, content=b"x") for _ in range(30)]
        assert {answer.status_code for answer in answers} == {200}
        b.handler = busy
        refused = await client.post(INFER, content=b"x")
    assert (refused.status_code, refused.json()) == (503, {"error": "queue full"})
    assert refused.headers["retry-after"] == "7"


async def busy(_):
    return 503, {"retry-after": "7", "content-type": "application/json"}, b'{"error":"queue full"}'


async def test_other_errors_are_not_tried_again(gateway, replica):
    a, b = await replica("a"), await replica("b")

    async def broken(_):
        return 500, {"content-type": "application/json"}, b'{"error":"model"}'

    a.handler = b.handler = broken
    await gateway.start([pair(a, b)])
    async with await http(gateway) as client:
        assert (await client.post(INFER, content=b"x")).json() == {"error": "model"}
    assert len(a.seen) + len(b.seen) == 1


async def test_a_slow_endpoint_is_504(gateway, replica):
    a = await replica("a")
    never = asyncio.Event()

    async def slow(_):
        await never.wait()
        return 200, {}, b""

    a.handler = slow
    await gateway.start([one(a, auth=False, timeout=0.3)])
    async with await http(gateway) as client:
        late = await client.post(INFER, content=b"x")
    never.set()
    assert (late.status_code, late.json()) == (504, {"error": "the endpoint did not answer within its time limit"})
    assert late.headers["content-type"] == "application/json"


async def test_too_many_waiting_are_503(gateway, replica):
    a = await replica("a")
    go = asyncio.Event()

    async def gated(_):
        await go.wait()
        return 200, {}, b"{}"

    a.handler = gated
    limits = Limits(connections=1, pending=1, requests=1)
    await gateway.start([one(a, auth=False, limits=limits, retries=0)])
    async with await http(gateway) as client:
        tasks = [asyncio.create_task(client.post(INFER, content=b"x")) for _ in range(6)]
        refused = []
        while len(refused) < 4:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            refused += done
            tasks = [task for task in tasks if task not in done]
        go.set()
        good = await asyncio.gather(*tasks)
    for task in refused:
        answer = task.result()
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json() == {"error": "this endpoint has as many requests as its limits allow; try again shortly"}
    assert 200 in {answer.status_code for answer in good}


async def chunks(size):
    for _ in range(size // 1000):
        yield b"x" * 1000


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_cap_is_413(folder, replica, config, chunked):
    from argosy.gateway.gateway import Gateway

    a = await replica("a")
    gateway = Gateway(msgspec.structs.replace(config, max_body_bytes=10_000))
    await gateway.start([one(a, auth=False)])
    try:
        async with await http(gateway) as client:
            fits = await client.post(INFER, content=chunks(10_000) if chunked else b"x" * 10_000)
            assert (fits.status_code, fits.json()["size"]) == (200, 10_000)
            large = await client.post(INFER, content=chunks(200_000) if chunked else b"x" * 10_001)
        assert (large.status_code, large.json()) == (
            413,
            {"error": "the request body is larger than the 10000 bytes this gateway allows (gateway.max_body_bytes)"},
        )
    finally:
        await gateway.stop(0.2)


async def test_a_large_body_is_streamed(gateway, replica):
    a = await replica("a")
    await gateway.start([one(a, auth=False)])
    async with await http(gateway) as client:
        answer = await client.post(INFER, content=b"x" * 20_000_000)
        assert answer.json()["size"] == 20_000_000


async def raw(gateway, data):
    host, port = await gateway.address()
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(data)
    answer = await asyncio.wait_for(reader.read(), 60)
    writer.close()
    return answer


async def test_slow_headers_and_slow_bodies_end(config, replica):
    from argosy.gateway.gateway import Gateway

    a = await replica("a")
    gateway = Gateway(msgspec.structs.replace(config, headers_seconds=0.3, body_seconds=0.3, drain_seconds=1))
    await gateway.start([one(a, auth=False, timeout=0.1)])
    try:
        headers = await raw(gateway, b"GET /v2 HTTP/1.1\r\nhost: x\r\nx-sl")
        assert headers.startswith(b"HTTP/1.1 408")
        assert b'{"error":' in headers
        body = await raw(gateway, b"POST " + INFER.encode() + b" HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nab")
        assert body.split(b" ")[1] in (b"408", b"504")
        assert b'{"error":"the request took too long to arrive or to be answered"}' in body
    finally:
        await gateway.stop(0.2)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"NONSENSE\r\n\r\n", b"400"),
        (b"GET /v2 HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /v2 HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 100_000 + b"\r\n\r\n", b"431"),
    ],
)
async def test_what_is_no_request_is_told_so_in_json(gateway, replica, data, status):
    await gateway.start()
    answer = await raw(gateway, data)
    assert answer.split(b" ", 2)[1] == status
    assert b'{"error":"gateway: ' in answer
