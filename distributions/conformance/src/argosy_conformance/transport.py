"""The judge's HTTP: httpx for well-formed requests, bare sockets for everything a client library would not send."""

import contextlib
import http.client
import io
import socket
import ssl
from collections.abc import Iterable, Mapping
from typing import Any, cast
from urllib.parse import urlsplit

import httpx
import msgspec

from argosy_conformance.check import Failed

JSON = {"content-type": "application/json"}
LIMIT = 120
"""Characters of a body that a message quotes."""


class Answer(msgspec.Struct, frozen=True):
    """What came back; `body` is still compressed if the server compressed it. Header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as strict JSON (no NaN, exact integers). Raises Failed."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Failed(f"{self.seen()}: the body is not JSON: {error}") from None

    def object(self) -> dict[str, Any]:
        """The body as a JSON object. Raises Failed."""
        value = self.json()
        if not isinstance(value, dict):
            raise Failed(f"{self.seen()}: the body is no JSON object")
        return cast("dict[str, Any]", value)

    def seen(self) -> str:
        """A short quotation for messages."""
        text = self.body[:LIMIT].decode("utf-8", "replace")
        return f"{self.status} {text}{'…' if len(self.body) > LIMIT else ''}"


class Transport:
    """One server by URL (a base path is kept), with an optional API key."""

    def __init__(self, url: str, key: str | None = None, timeout: float = 30.0) -> None:
        self.url = url.rstrip("/") if "://" in url else "http://" + url.rstrip("/")
        self.parts = urlsplit(self.url)
        self.auth = {"authorization": f"Bearer {key}"} if key else {}
        self.timeout = timeout
        self.tls = ssl.create_default_context()
        self.client = self._client()

    def _client(self) -> httpx.Client:
        limits = httpx.Limits(max_connections=64)
        return httpx.Client(
            timeout=self.timeout, limits=limits, follow_redirects=False, trust_env=False, verify=self.tls
        )

    def fresh(self) -> None:
        """Forget the open connections: what one request did to its connection must not be held against the next."""
        self.client.close()
        self.client = self._client()

    def send(
        self, method: str, path: str, body: bytes | Iterable[bytes] = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request; an iterable body goes out chunked. Raises Failed when no HTTP answer comes back."""
        fields = {"accept-encoding": "identity", "accept": "*/*", **self.auth, **(headers or {})}
        try:
            request = self.client.build_request(method, self.url + path, content=body or None, headers=fields)
            response = self.client.send(request, stream=True)
            try:
                data = b"".join(response.iter_raw())
            finally:
                response.close()
        except httpx.HTTPError as error:
            raise Failed(f"{method} {path}: no answer: {type(error).__name__} {error}") from None
        return Answer(response.status_code, dict(response.headers), data)

    def get(self, path: str) -> Answer:
        """GET without a body."""
        return self.send("GET", path)

    def post(self, path: str, value: Any) -> Answer:
        """POST a JSON value."""
        return self.send("POST", path, msgspec.json.encode(value), JSON)

    def connect(self) -> socket.socket:
        """A bare connection, with TLS where the URL says https. Raises Failed."""
        secure = self.parts.scheme == "https"
        address = (self.parts.hostname or "localhost", self.parts.port or (443 if secure else 80))
        try:
            plain = socket.create_connection(address, timeout=self.timeout)
            return self.tls.wrap_socket(plain, server_hostname=address[0]) if secure else plain
        except OSError as error:
            raise Failed(f"cannot connect to {address[0]}:{address[1]}: {error}") from None

    def head(self, method: str, path: str, headers: Mapping[str, str]) -> bytes:
        """A request line and header fields as bytes, exactly as given plus Host and the key."""
        fields = {"host": self.parts.netloc, **self.auth, **headers}
        lines = [f"{method} {self.parts.path}{path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def raw(self, data: bytes, *, half_close: bool = False, wait: float = 10.0) -> Answer | None:
        """Send bytes as they are and read one answer; None when the connection is closed or stays silent."""
        with self.connect() as connection:
            connection.settimeout(wait)
            with contextlib.suppress(OSError):
                connection.sendall(data)
                if half_close:
                    connection.shutdown(socket.SHUT_WR)
            return read_answer(connection)

    def close(self) -> None:
        """Close every connection."""
        self.client.close()


def read_answer(connection: socket.socket) -> Answer | None:
    """One HTTP response from a connection, or None when none comes."""
    response = http.client.HTTPResponse(connection)
    try:
        response.begin()
        body = response.read()
    except (http.client.HTTPException, OSError, ValueError, io.UnsupportedOperation):
        return None
    finally:
        response.close()
    return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, body)
