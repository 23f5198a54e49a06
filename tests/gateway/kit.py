"""Tiny real upstreams on Unix sockets, and short ways to say what the gateway is told."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx

from argosy.gateway.gateway import Gateway
from argosy.gateway.model import ApiKey, EndpointRoute, RevisionRoute, Upstream
from argosy.spec.address import Address

KEY = "a-good-key"


def api_key(clear: str = KEY, **fields: object) -> ApiKey:
    """The key as the gateway is told it."""
    return ApiKey(**{"id": "k1", "sha256": hashlib.sha256(clear.encode()).hexdigest()} | fields)


Handler = Callable[["Request"], Awaitable[tuple[int, dict[str, str], bytes]]]


class Request:
    """What an upstream saw."""

    def __init__(self, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        self.method, self.path, self.headers, self.body = method, path, headers, body


class HttpReplica:
    """An HTTP/1.1 server of a few lines on a Unix socket. It records what it was sent."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name, self.path = name, str(folder / f"{name}.sock")
        self.seen: list[Request] = []
        self.arrived = asyncio.Event()
        self.handler: Handler = self.echo
        self.server: asyncio.Server | None = None
        self.writers: set[asyncio.StreamWriter] = set()

    async def echo(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        body = {"replica": self.name, "path": request.path, "size": len(request.body)}
        return 200, {"content-type": "application/json"}, json.dumps(body).encode()

    async def start(self) -> "HttpReplica":
        self.server = await asyncio.start_unix_server(self._serve, self.path)
        return self

    async def stop(self) -> None:
        if self.server:
            for each in self.server.sockets:
                asyncio.get_running_loop().remove_reader(each.fileno())
            for _ in range(3):  # asyncio never closes a connection that it accepted just before its server was closed
                await asyncio.sleep(0)
            self.server.close()
            for writer in list(self.writers):
                writer.close()
            await self.server.wait_closed()
            Path(self.path).unlink(missing_ok=True)
            self.server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        try:
            while True:
                request = await self._read(reader)
                self.seen.append(request)
                self.arrived.set()
                status, headers, body = await self.handler(request)
                if status == 0:
                    return
                lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}"]
                lines += [f"{name}: {value}" for name, value in headers.items()]
                writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self.writers.discard(writer)
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> Request:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, path, _ = head[0].split(" ")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)}
        body = b""
        if headers.get("transfer-encoding") == "chunked":
            while size := int(await reader.readline(), 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readline()
        elif "content-length" in headers:
            body = await reader.readexactly(int(headers["content-length"]))
        return Request(method, path, headers, body)


async def http(gateway: Gateway, **options: object) -> httpx.AsyncClient:
    """A client of the gateway's address."""
    host, port = await gateway.address()
    return httpx.AsyncClient(base_url=f"http://{host}:{port}", timeout=60, trust_env=False, **options)


def one(upstream: HttpReplica | str, *, endpoint: str = "digits", **fields: object) -> EndpointRoute:
    """An endpoint with one revision of one replica."""
    return EndpointRoute(endpoint=endpoint, revisions=(revision("r1", "1", upstream, weight=1),), **fields)


def revision(name: str, version: str, *upstreams: HttpReplica | str | Upstream, weight: int = 0) -> RevisionRoute:
    """A revision over these replicas."""
    return RevisionRoute(revision=name, version=version, weight=weight, upstreams=tuple(map(upstream, upstreams)))


def upstream(of: HttpReplica | str | Upstream) -> Upstream:
    """A replica as the gateway is told it."""
    if isinstance(of, Upstream):
        return of
    return (
        Upstream(replica=of.name, http=Address(path=of.path))
        if isinstance(of, HttpReplica)
        else Upstream(replica="x", http=Address(path=of))
    )


def shared(*revisions: RevisionRoute, **fields: object) -> EndpointRoute:
    """The endpoint 'digits' over these revisions, open to all."""
    return EndpointRoute(**{"endpoint": "digits", "revisions": revisions, "auth": False} | fields)


class Load:
    """Workers that ask without a pause until the block ends. `answers` has each status with who answered."""

    def __init__(self, client: httpx.AsyncClient, workers: int = 4, path: str = "/v2/models/digits/infer") -> None:
        self.client, self.workers, self.path = client, workers, path
        self.answers: list[tuple[int, str]] = []
        self._stop = asyncio.Event()

    async def __aenter__(self) -> "Load":
        self._tasks = [asyncio.create_task(self._ask()) for _ in range(self.workers)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)

    async def _ask(self) -> None:
        while not self._stop.is_set():
            answer = await self.client.post(self.path, content=b"x" * 100)
            self.answers.append((answer.status_code, answer.headers.get("x-argosy-replica", "")))
