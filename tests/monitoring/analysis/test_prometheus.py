"""What answers of Prometheus' API mean; a real server is asked in tests/control/rollout/test_prometheus.py."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from argosy.monitoring.analysis.prometheus import LARGEST_ANSWER, Prometheus, read
from argosy.spec.errors import InvalidArgument, Unavailable


def success(kind: str, result: str) -> bytes:
    return f'{{"status":"success","data":{{"resultType":"{kind}","result":{result}}},"warnings":[]}}'.encode()


SERIES = '{"metric":{"a":"b"},"value":[1700000000.5,"%s"]}'


@pytest.mark.parametrize(
    ("body", "number"),
    [
        (success("scalar", '[1700000000.5,"1.5"]'), 1.5),
        (success("vector", f"[{SERIES % '2e-3'}]"), 0.002),
        (success("vector", "[]"), None),
        (success("vector", f"[{SERIES % 'NaN'}]"), None),
        (success("vector", f"[{SERIES % '+Inf'}]"), None),
        (success("scalar", '[1700000000,"NaN"]'), None),
    ],
)
def test_a_number_or_no_data(body: bytes, number: float | None):
    assert read(body) == number


@pytest.mark.parametrize(
    ("body", "status", "kind", "message"),
    [
        (success("vector", f"[{SERIES % 1},{SERIES % 2}]"), 200, InvalidArgument, "2 series; it must give one"),
        (success("matrix", "[]"), 200, InvalidArgument, "gives a matrix"),
        (success("string", '[1,"x"]'), 200, InvalidArgument, "gives a string"),
        (success("vector", '[{"metric":{},"histogram":[1,{}]}]'), 200, InvalidArgument, "gives a histogram"),
        (b'{"status":"error","errorType":"bad_data","error":"parse error"}', 400, InvalidArgument, "parse error"),
        (b'{"status":"error","errorType":"timeout","error":"too slow"}', 503, Unavailable, "too slow"),
        (b"<html>502</html>", 502, Unavailable, "status 502 and not as its API does"),
        (success("scalar", '[1,"many"]'), 200, Unavailable, "not as its API says"),
        (success("vector", '{"a":1}'), 200, Unavailable, "not as its API says"),
        (b'{"status":"success"}', 200, Unavailable, "status 200"),
    ],
)
def test_what_is_no_number_is_told(body: bytes, status: int, kind: type[Exception], message: str):
    with pytest.raises(kind, match=message):
        read(body, status)


class Server:
    """Answers every request alike and keeps what it was asked."""

    def __init__(self, body: bytes, *, hangs: bool = False) -> None:
        self.body, self.hangs, self.heads, self.forms = body, hangs, list[str](), list[str]()
        self._tasks = set[asyncio.Task[None] | None]()

    async def __aenter__(self) -> "Server":
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/prefix/"
        return self

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.current_task())
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        size = int(head.lower().split("content-length:")[1].split()[0])
        self.heads.append(head)
        self.forms.append((await reader.readexactly(size)).decode())
        if not self.hangs:
            writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(self.body))
            writer.write(self.body)
        else:
            await reader.read()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await asyncio.gather(*filter(None, self._tasks))


async def ask(url: str, token: str = "", seconds: float = 60.0) -> float | None:
    client = Prometheus(url, token, seconds)
    try:
        return await client.number("up", 1700000000.0)
    finally:
        await client.close()


async def test_it_asks_for_one_time_with_the_token_of_its_file(tmp_path: Path):
    token = tmp_path / "token"
    token.write_text("secret\n")
    async with Server(success("scalar", '[1,"4"]')) as server:
        assert await ask(server.url, str(token)) == 4
    assert server.heads[0].startswith("POST /prefix/api/v1/query HTTP/1.1")
    assert "authorization: bearer secret" in server.heads[0].lower()
    assert server.forms == ["query=up&time=1700000000.000&timeout=60s"]


@pytest.mark.parametrize(
    ("server", "token", "message"),
    [
        (lambda: Server(b"", hangs=True), "", "did not answer within 0.2 s"),
        (lambda: Server(b" " * (LARGEST_ANSWER + 1)), "", "more than 1 MiB"),
        (lambda: Server(b""), "/nowhere/token", "token_file: /nowhere/token cannot be read: No such file"),
    ],
)
async def test_what_keeps_it_from_an_answer_is_told(server: Callable[[], Server], token: str, message: str):
    async with server() as running:
        with pytest.raises((Unavailable, InvalidArgument), match=message):
            await ask(running.url, token, 0.2 if "0.2 s" in message else 60.0)


async def test_nobody_there():
    async with Server(b"") as server:
        pass
    with pytest.raises(Unavailable, match="cannot be reached"):
        await ask(server.url)
