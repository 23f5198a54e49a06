"""HTTP/1.1 as a device reads and writes it: heads and bodies within bounds."""

import asyncio
import contextlib

from argosy_edge.errors import (
    InvalidArgument,
    PayloadTooLarge,
    PermissionDenied,
    RequestTooLarge,
    UnsupportedEncoding,
)

MOST_HEAD = 16 * 1024
MOST_BODY = 32 * 1024 * 1024
MOST_CHUNKED = 4 * 1024 * 1024
"""Of a body whose length is not known before it comes."""
LINGER = 1.0
LOCAL = ("localhost", "127.0.0.1", "[::1]")
_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 503: "Service Unavailable"}
Headers = dict[str, str]


async def read_head(first: bytes, reader: asyncio.StreamReader) -> tuple[str, str, Headers, bool]:
    """Method, path, headers with small names, and whether the connection stays. Raises AgentError."""
    try:
        text = first + await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        raise RequestTooLarge(f"the request line and headers have more than {MOST_HEAD} bytes") from None
    lines = text.decode("latin-1").split("\r\n")[:-2]
    method, _, rest = lines[0].partition(" ")
    target, _, version = rest.rpartition(" ")
    if version not in ("HTTP/1.1", "HTTP/1.0") or not method.isalpha() or not target.startswith("/"):
        raise InvalidArgument("this is no HTTP request")
    headers: Headers = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip() or any(odd in line for odd in "\0\r\n"):
            raise InvalidArgument("a header line is malformed")
        if name.lower() in headers and name.lower() in ("content-length", "transfer-encoding", "host"):
            raise InvalidArgument(f"the header {name[:40]} is given twice")
        headers[name.lower()] = value.strip()
    said = headers.get("connection", "").lower()
    keep = "close" not in said and (version == "HTTP/1.1" or "keep-alive" in said)
    return method, target.partition("?")[0], headers, keep


def length_of(headers: Headers) -> int:
    """Bytes that the body may have, by its head. Raises InvalidArgument, PayloadTooLarge."""
    length, coding = headers.get("content-length"), headers.get("transfer-encoding")
    if coding is None and length is None:
        return 0
    if (coding is not None and (length is not None or coding.lower() != "chunked")) or (
        length is not None and not (length.isascii() and length.isdigit() and len(length) < 20)
    ):
        raise InvalidArgument("the length of the body is not said in one way that can be read")
    size = MOST_CHUNKED if length is None else int(length)
    if size > MOST_BODY:
        raise PayloadTooLarge(f"the body has {size} bytes; at most {MOST_BODY} are taken")
    return size


async def read_body(headers: Headers, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """The body of a request whose head was read. Raises InvalidArgument, PayloadTooLarge, UnsupportedEncoding."""
    if (encoding := headers.get("content-encoding", "identity").lower()) != "identity":
        raise UnsupportedEncoding(f"the body is encoded by '{encoding[:40]}'; a device reads none that is")
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    try:
        if "transfer-encoding" in headers:
            return await _chunks(reader)
        return await reader.readexactly(int(headers.get("content-length", "0")))
    except asyncio.IncompleteReadError:
        raise InvalidArgument("the connection ended within the body") from None


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while True:
        try:
            line = (await reader.readuntil(b"\r\n")).partition(b";")[0].strip()
            size = int(line, 16) if line.isalnum() else -1
        except (ValueError, asyncio.LimitOverrunError):
            size = -1
        if size < 0:
            raise InvalidArgument("a chunk of the body has no length")
        if len(body) + size > MOST_CHUNKED:
            raise PayloadTooLarge(f"the body has more than {MOST_CHUNKED} bytes, without a Content-Length")
        if not size:
            break
        body += await reader.readexactly(size)
        if await reader.readexactly(2) != b"\r\n":
            raise InvalidArgument("a chunk of the body is longer than it says")
    for _ in range(64):  # trailers
        with contextlib.suppress(asyncio.LimitOverrunError):
            if await reader.readuntil(b"\r\n") == b"\r\n":
                return bytes(body)
    raise RequestTooLarge("there are too many lines behind the body")


async def write(
    writer: asyncio.StreamWriter, status: int, data: bytes, fields: Headers, *, keep: bool, head: bool = False
) -> None:
    """An answer. `head`: its head alone."""
    headers = {"content-type": "application/json", "content-length": str(len(data)), **fields}
    if not keep:
        headers["connection"] = "close"
    lines = [
        f"HTTP/1.1 {status} {_REASONS.get(status, 'Error')}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + (b"" if head else data))
    await writer.drain()


async def linger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say that nothing more comes, and pass over what still does for a moment: who closes on unread bytes takes back
    the answer as well."""
    if writer.can_write_eof():
        writer.write_eof()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER):
            while await reader.read(MOST_HEAD):
                pass


def check_host(host: str | None) -> None:
    """Refuse what a web page leads here by a name of its own: a browser says it, and cannot say another."""
    if host is not None:
        name, _, port = host.lower().rpartition(":")
        if (name if name and port.isdecimal() else host.lower()) not in LOCAL:
            raise PermissionDenied(f"a device answers to {', '.join(LOCAL)}, not to '{host[:80]}'")
