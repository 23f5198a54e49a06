"""HTTP to Envoy's administration, what it has taken up, refused and has in flight; and GET and POST to replicas."""

import asyncio
import contextlib
import json
from typing import Any, cast

from argosy.process.sockets import connect
from argosy.spec.address import Address
from argosy.spec.errors import Internal, Unavailable

LARGEST_ANSWER = 64 * 1024 * 1024


class Admin:
    """A client for one address. Raises Unavailable when nobody listens there."""

    def __init__(self, address: Address, timeout: float = 5.0) -> None:
        self.address = address
        self.timeout = timeout

    async def get(self, path: str) -> bytes:
        """The body of a GET."""
        return await self._call("GET", path)

    async def post(self, path: str) -> bytes:
        """The body of a POST, which Envoy asks for where something changes."""
        return await self._call("POST", path)

    async def alive(self, node: str) -> bool:
        """Whether the Envoy of this node listens here."""
        try:
            info = json.loads(await self.get("/server_info"))
        except (Unavailable, Internal, ValueError):
            return False
        return cast("dict[str, Any]", info.get("node", {})).get("id") == node

    async def stats(self, pattern: str) -> dict[str, float]:
        """Counters and gauges whose name matches the regular expression."""
        from urllib.parse import quote

        found = json.loads(await self.get(f"/stats?format=json&filter={quote(pattern)}"))
        return {each["name"]: each["value"] for each in found["stats"] if "value" in each}

    async def addresses(self) -> dict[str, tuple[str, int]]:
        """Listener → the host and port it is bound to."""
        listeners = json.loads(await self.get("/listeners?format=json")).get("listener_statuses", [])
        return {
            each["name"]: (address["address"], address["port_value"])
            for each in listeners
            if (address := each["local_address"].get("socket_address"))
        }

    async def active(self) -> dict[str, int]:
        """Cluster → requests in flight."""
        stats = await self.stats(r"^cluster\..*\.upstream_rq_active$")
        return {name.split(".", 1)[1].rpartition(".")[0]: int(value) for name, value in stats.items()}

    async def exchange(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """The status of an answer and its body."""
        try:
            async with asyncio.timeout(self.timeout):
                return await self._exchange(method, path, body)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError) as error:
            raise Unavailable(f"what listens at {self.address} does not answer: {error!r}") from None

    async def _call(self, method: str, path: str) -> bytes:
        status, body = await self.exchange(method, path)
        if status != 200:
            raise Internal(f"the gateway's administration answered {status} to {path}: {body[:500].decode()}")
        return body

    async def _exchange(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        reader, writer = await connect(self.address, limit=1024 * 1024)
        try:
            head = f"{method} {path} HTTP/1.1\r\nhost: admin\r\ncontent-length: {len(body)}\r\n"
            head += "content-type: application/json\r\n" if body else ""
            writer.write(head.encode() + b"\r\n" + body)
            await writer.drain()
            status, headers = await _head(reader)
            return status, await _body(reader, headers)
        finally:
            writer.transport.abort()  # a farewell of TLS would be waited for
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def _head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines[1:] if line)
    status = lines[0].split(" ", 2)[1:2]
    return int(status[0] if status else ""), {name.lower(): value.strip() for name, _, value in pairs}


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if "content-length" in headers:
        if int(headers["content-length"]) > LARGEST_ANSWER:
            raise ValueError("the answer is too large")
        return await reader.readexactly(int(headers["content-length"]))
    parts: list[bytes] = []
    total = 0
    while size := int((await reader.readline()).split(b";")[0], 16):
        total += size
        if total > LARGEST_ANSWER:
            raise ValueError("the answer is too large")
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    return b"".join(parts)
