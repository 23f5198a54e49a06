import asyncio
import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from argosy.protocol import rest
from argosy.spec.errors import DeadlineExceeded, RateLimited, Unavailable
from argosy.spec.tensor import tensor
from argosy_examples import traffic

ROWS = [(tensor("x", np.array([[float(number)]])),) for number in range(5)]


class Gateway:
    """Answers each request with twice its rows, until it is told otherwise."""

    def __init__(self):
        self.heads, self.reply = [], None

    async def serve(self, reader, writer):
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
                self.heads.append(headers)
                body = await reader.readexactly(int(headers["content-length"]))
                writer.write(self.reply or self._doubled(body, headers.get(rest.HEADER_LENGTH)))
                if self.reply and b"connection: close" in self.reply:
                    break
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    def _doubled(self, body, length):
        request = rest.decode_request(body, int(length) if length else None)
        outputs = [tensor("y", request.tensors[0].array * 2)]
        text, length = rest.encode_response(rest.Response("m", "1", outputs), [length is not None])
        extra = f"{rest.HEADER_LENGTH}: {length}\r\n" if length is not None else ""
        return f"HTTP/1.1 200 OK\r\n{extra}content-length: {len(text)}\r\n\r\n".encode() + text


@pytest.fixture
async def gateway():
    gateway = Gateway()
    server = await asyncio.start_server(gateway.serve, "127.0.0.1", 0)
    gateway.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v2/models/m/infer"
    yield gateway
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("binary", [True, False])
async def test_every_row_is_sent_and_its_answer_kept_in_order(gateway, binary):
    found = await traffic.send(gateway.url, "secret", ROWS, binary=binary, connections=3, seconds=0)
    assert found.outputs["y"].tolist() == [[0], [2], [4], [6], [8]]
    assert len(found.latencies) == len(ROWS) == len(gateway.heads)
    assert {head["authorization"] for head in gateway.heads} == {"Bearer secret"}
    assert {rest.HEADER_LENGTH in head for head in gateway.heads} == {binary}


async def test_rows_are_sent_again_until_the_time_is_over(gateway, monkeypatch):
    ticks = itertools.count()
    monkeypatch.setattr(traffic, "time", SimpleNamespace(perf_counter=lambda: next(ticks) / 100))
    found = await traffic.send(gateway.url, "k", ROWS, binary=True, connections=2, seconds=0.2)
    assert len(found.latencies) > len(ROWS)
    assert found.outputs["y"].shape == (5, 1)
    assert found.seconds >= 0.2
    assert 0 < found.milliseconds(50) <= found.milliseconds(99)
    assert found.per_second == pytest.approx(len(found.latencies) / found.seconds)


async def test_the_first_refusal_ends_it(gateway):
    body = b'{"error": "the limit is spent", "code": "rate_limited"}'
    gateway.reply = b"HTTP/1.1 429 Too Many\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
    with pytest.raises(RateLimited, match="the limit is spent"):
        await traffic.send(gateway.url, "k", ROWS, binary=True, connections=3, seconds=1)


@pytest.mark.parametrize("reply", [b"no http\r\n\r\n", b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"])
async def test_an_answer_that_is_none(gateway, reply):
    gateway.reply = reply
    async with asyncio.timeout(60):
        with pytest.raises(Unavailable):
            await traffic.send(gateway.url, "k", ROWS, binary=True, connections=2, seconds=1)


async def test_an_answer_that_never_comes(gateway, monkeypatch):
    monkeypatch.setattr(traffic, "ANSWER_SECONDS", 0.1)
    gateway.reply = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"
    with pytest.raises(DeadlineExceeded, match=r"within 0\.1 s"):
        await traffic.send(gateway.url, "k", ROWS, binary=True, connections=2, seconds=1)


async def test_nobody_listens(gateway):
    url = gateway.url
    free = await asyncio.start_server(gateway.serve, "127.0.0.1", 0)
    port = free.sockets[0].getsockname()[1]
    free.close()
    await free.wait_closed()
    with pytest.raises(Unavailable, match="does not answer"):
        await traffic.send(f"http://127.0.0.1:{port}/x", "k", ROWS, binary=True, connections=2, seconds=1)
    assert url
