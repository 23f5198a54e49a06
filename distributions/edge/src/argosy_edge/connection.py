"""A connection to the platform, over HTTPS that the device began, and what comes back over it, within bounds.

Where it breaks before an answer began, the request is sent once more: all of them may come twice.

A device's clock may stand in 1970. Whoever gave it the platform's authority with the enrolment can do without one: then
certificates are not held against the device's clock, but against the time that the platform told last.
"""

import contextlib
import http.client
import ipaddress
import ssl
import time
from collections.abc import Mapping
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import msgspec

from argosy_edge import errors
from argosy_edge.errors import AgentError, Conflict, InvalidArgument, PermissionDenied, Unavailable
from argosy_edge.identity import Platform
from argosy_edge.wire import PREFIX, Failure, WireError

SECONDS = 20.0
"""For a connection, and for an answer to begin."""
WHOLE = 60.0
"""For the whole of an answer, so that one that drips is given up."""
SMALL, LARGE = 64 * 1024, 16 * 1024 * 1024
"""Bytes of an answer."""
NO_CHECK_TIME = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME."""
BROKEN = (http.client.HTTPException, OSError)
S = TypeVar("S")


class Times(Protocol):
    """A clock, which the platform tells the time (`clock.Clock`)."""

    @property
    def known(self) -> bool: ...
    def now(self) -> float: ...
    def sync(self, now: float) -> None: ...


class NoTime:
    """A device that has nothing but its own clock."""

    known = False

    def now(self) -> float:
        return time.time()

    def sync(self, now: float) -> None:
        """It is not kept."""


class Connection:
    """One connection to a platform, made when it is needed. Not for several threads."""

    def __init__(self, platform: Platform, times: Times) -> None:
        self._open: http.client.HTTPConnection | None = None
        self._last: http.client.HTTPResponse | None = None
        self._platform, self._times = platform, times
        self._scheme, self._host, self._port, self._path = address(platform)

    def send(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] = {}, seconds: float = SECONDS
    ) -> http.client.HTTPResponse:
        """The answer as it begins, which has to be read whole or closed. Raises OSError, HTTPException."""
        if self._last is not None and self._last.length == 0:
            self._last.close()
        elif self._last is not None:
            self.close()
        reused = self._open is not None and self._open.sock is not None
        try:
            return self._send(method, path, body, headers, seconds)
        except (http.client.RemoteDisconnected, ConnectionError):
            if not reused:
                raise
        return self._send(method, path, body, headers, seconds)

    def _send(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str], seconds: float
    ) -> http.client.HTTPResponse:
        if self._open is None or self._open.sock is None:
            self._open = self._connect()
        try:
            self._open.sock.settimeout(seconds)
            self._open.request(method, f"{self._path}{PREFIX}/{path}", body or None, dict(headers))
            self._last = self._open.getresponse()
            return self._last
        except BaseException:
            self.close()
            raise

    def _connect(self) -> http.client.HTTPConnection:
        if self._scheme == "http":
            found = http.client.HTTPConnection(self._host, self._port, timeout=SECONDS)
            found.connect()
            return found
        context = tls(self._platform.authority)
        found = http.client.HTTPSConnection(self._host, self._port, timeout=SECONDS, context=context)
        try:
            found.connect()
            if self._platform.authority and self._times.known:
                check_dates(found.sock, self._times.now())
        except BaseException:
            found.close()
            raise
        return found

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
        self._open = self._last = None

    def __del__(self) -> None:
        """That of a thread that has ended."""
        self.close()


def exchange(
    connection: Connection,
    method: str,
    path: str,
    kind: type[S],
    body: bytes = b"",
    headers: Mapping[str, str] = {},
    seconds: float = SECONDS,
) -> S:
    """A request and its whole answer. Raises the error that the platform named, Unavailable where there is no answer,
    WireError for one that is not what it has to be."""
    sent = {**headers, **({"content-type": "application/json"} if body else {})}
    try:
        answer = connection.send(method, path, body, sent, seconds)
        data = _whole(answer, LARGE if method == "GET" else SMALL)
    except BROKEN as error:
        connection.close()
        raise Unavailable(f"the platform cannot be reached: {_why(error)}") from None
    except BaseException:
        connection.close()
        raise
    if answer.status >= 400:
        raise failure(answer.status, data)
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"the platform's answer to {method} {path.partition('?')[0]} cannot be read: {error}") from None


def _whole(answer: http.client.HTTPResponse, most: int) -> bytes:
    found, ends = bytearray(), time.monotonic() + WHOLE
    while part := answer.read1(64 * 1024):
        found += part
        if len(found) > most:
            raise WireError(f"the platform's answer is larger than {most} bytes")
        if time.monotonic() > ends:
            raise TimeoutError(f"the answer was not there after {WHOLE:.0f} s")
    if answer.length:
        answer.close()
        raise http.client.IncompleteRead(bytes(found[:100]), answer.length)
    return bytes(found)


def failure(status: int, data: bytes) -> AgentError:
    """What the platform answered, as the error of its status."""
    message = f"the platform answers {status}"
    with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        said = msgspec.json.decode(data, type=Failure).error
        message = "".join(letter if letter.isprintable() else " " for letter in said)[:1000]
    known: dict[int, type[AgentError]] = {
        400: InvalidArgument,
        401: errors.Unauthenticated,
        403: PermissionDenied,
        404: errors.NotFound,
        409: Conflict,
        413: errors.PayloadTooLarge,
    }
    return known.get(status, Unavailable if status in (408, 429) or status >= 500 else InvalidArgument)(message)


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        hint = ""
        if "not yet valid" in str(error.verify_message):
            hint = "; the clock of this device may be wrong: enrol it with --authority, which needs none"
        return f"its certificate does not count: {error.verify_message}{hint}"
    return str(error) or type(error).__name__


def tls(authority: str) -> ssl.SSLContext:
    """What a platform has to show: a certificate that leads to the authority, whenever it is, or to one that this
    system knows, at this time."""
    if not authority:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(cadata=authority)
    except ssl.SSLError:
        raise InvalidArgument("the authority is no certificate in PEM") from None
    context.verify_flags = ssl.VerifyFlags(int(context.verify_flags) | NO_CHECK_TIME)
    return context


def check_dates(socket: Any, now: float) -> None:
    """Raises SSLCertVerificationError for a certificate that is not good at a time that is known."""
    shown = socket.getpeercert()
    begins, ends = (ssl.cert_time_to_seconds(shown[name]) for name in ("notBefore", "notAfter"))
    if not begins <= now <= ends:
        raise ssl.SSLError(f"its certificate is good from {shown['notBefore']} to {shown['notAfter']}, not now")


def address(platform: Platform) -> tuple[str, str, int, str]:
    """Scheme, host, port and path of a platform. Raises InvalidArgument; for HTTP, too, unless it goes to this machine
    or is meant."""
    try:
        parts = urlsplit(platform.url)
        port = parts.port
    except ValueError:
        raise InvalidArgument(f"'{platform.url[:200]}' is no URL") from None
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment or parts.username:
        raise InvalidArgument(f"'{platform.url[:200]}' is no URL of a platform, as https://argosy.example.org:8443 is")
    if parts.scheme == "http" and not platform.plain and not _here(host):
        raise InvalidArgument(
            f"{platform.url[:200]} is not encrypted, so that anybody on the way could read what this device says: use "
            "https, or --plain where the network encrypts"
        )
    return parts.scheme, host, port or (443 if parts.scheme == "https" else 80), parts.path.rstrip("/")


def _here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
