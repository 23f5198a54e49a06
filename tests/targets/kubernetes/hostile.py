"""An API server of our own that answers as real ones do on their worst days, byte for byte.

What it does is a function of the request: an async generator of what to send, in which it may also wait or raise `Cut`.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit


class Cut(Exception):
    """The connection breaks off here."""


class Request(NamedTuple):
    """What was asked."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


Answers = Callable[[Request], AsyncIterator[bytes]]


def answer(status: int, body: Any = b"", **headers: str) -> bytes:
    """A whole answer; `body` is JSON if it is not bytes."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(data)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + data


def refusal(status: int, message: str, reason: str = "X", *causes: Mapping[str, str], **headers: str) -> bytes:
    """An answer that is a Status."""
    details = {"causes": list(causes)}
    body = {"kind": "Status", "message": message, "reason": reason, "code": status, "details": details}
    return answer(status, body, **headers)


def start() -> bytes:
    """The head of an answer in chunks."""
    return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """A part of it; an empty one is the end."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def event(kind: str, name: str, version: int, **more: Any) -> bytes:
    """A chunk with an event of a watch."""
    metadata = {"name": name, "resourceVersion": str(version), **more}
    return chunk(json.dumps({"type": kind, "object": {"metadata": metadata}}).encode() + b"\n")


class Hostile:
    """The server; `seen` has every request. `url` is where it listens until `close`."""

    def __init__(self, answers: Answers) -> None:
        self.answers, self.seen, self.sent, self.url = answers, list[Request](), 0, ""
        self._server: asyncio.Server | None = None
        self._tasks = set[asyncio.Task[None]]()

    async def open(self, port: int = 0) -> "Hostile":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with contextlib.suppress(Cut, ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                method, target, _ = head[0].split(" ")
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                url = urlsplit(target)
                query = {name: values[0] for name, values in parse_qs(url.query).items()}
                self.seen.append(request := Request(method, url.path, query, headers, body))
                async for data in self.answers(request):
                    writer.write(data)
                    self.sent += len(data)
                    await writer.drain()
        self._tasks.discard(task)
        writer.transport.abort()


@contextlib.asynccontextmanager
async def hostile(answers: Answers) -> AsyncIterator[Hostile]:
    """A server that answers so."""
    server = await Hostile(answers).open()
    try:
        yield server
    finally:
        await server.close()


def in_turn(*answers: bytes | type[Cut] | tuple[bytes, type[Cut]]) -> Answers:
    """These answers, one for each request, the last one for all that follow; `Cut` breaks off instead, or then."""
    left = list(answers)

    async def answering(request: Request) -> AsyncIterator[bytes]:
        found = left.pop(0) if len(left) > 1 else left[0]
        for part in found if isinstance(found, tuple) else (found,):
            if not isinstance(part, bytes):
                raise Cut
            yield part

    return answering
