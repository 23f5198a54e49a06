"""Requests to one registry: logins, redirects, waiting where it asks for that, warnings, errors of ours.

Source: OCI distribution-spec 1.1. The environment's proxies are used. Certificates are checked against those of this
machine, or of SSL_CERT_FILE, and those that the caller names.
"""

import datetime
import email.utils
import os
import re
import ssl
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgspec

from argosy.spec.errors import ArgosyError, InvalidArgument, NotFound, PayloadTooLarge, Unavailable, from_http
from argosy.spec.foreign import printable
from argosy.store.manifest import MAX_DOCUMENT
from argosy.store.oci import credentials, quirks
from argosy.store.oci.reference import is_loopback
from argosy.store.oci.tokens import MAX_ANSWER, Tokens, challenge_of

REDIRECTS, RETRIES, MOST_WARNINGS = 5, 4, 100
RECONNECT = (0.25, 0.5, 1.0)
"""Seconds before a request is made again that the network broke off."""
PATIENCE = 120.0
"""Seconds that one request waits in all, because the registry asks for it."""
TIMEOUT = httpx.Timeout(60.0, connect=15.0)
HINTS = {
    401: ": run  argosy registry login {host}",
    403: ": the login may not do this",
    413: ": the registry takes nothing of this size",
    429: ": it limits how often it is asked, so try later",
}
MOVED, _BUSY = (301, 302, 303, 307, 308), (429, 502, 503, 504)
_NO_TLS = ("WRONG_VERSION", "RECORD_LAYER", "RECORD LAYER")
"""What TLS says of a server that speaks plain text."""
_WARNING = re.compile(r'299 \S+ "((?:[^"\\]|\\.){1,400})"')

Report = Callable[[str], None]


class RegistryCall(NamedTuple):
    """A request that can be made again: `body` gives its `length` bytes anew."""

    method: str
    url: httpx.URL
    scopes: tuple[str, ...] = ()
    headers: Mapping[str, str] = {}
    body: Callable[[], Iterator[bytes]] | None = None
    length: int = 0


class Answer(NamedTuple):
    """An answer whose body was read; where it came from, after redirects."""

    status: int
    headers: httpx.Headers
    data: bytes
    url: httpx.URL


class Faults(msgspec.Struct, frozen=True):
    """The body of an answer that is an error."""

    errors: tuple[dict[str, Any], ...] = ()


class Client:
    """A registry, for one repository of it as far as logins go. `report` is given its warnings, each once."""

    def __init__(
        self,
        host: str,
        repository: str = "",
        *,
        plain_http: bool = False,
        ca: Path | None = None,
        report: Report = lambda line: None,
        credential: credentials.Credential | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.host, self.report, self.quirks = host, report, quirks.of(host)
        self._http = httpx.Client(verify=_trusting(ca), timeout=TIMEOUT, follow_redirects=False)
        self._plain, self._sleep, self._warned = plain_http, sleep, set[str]()
        found = credential or credentials.find(host, repository, os.environ)
        self._tokens = Tokens(host, found, self._fetch_token, plain=plain_http or is_loopback(host))
        self.base = httpx.URL(f"{'http' if plain_http else 'https'}://{host}/v2/")

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def probe(self) -> "Client":
        """Ask whether this is a registry, and how it wants logins. A loopback host may answer in plain text. Raises
        Unavailable, NotFound."""
        try:
            answer = self._first()
        except Unavailable as error:
            text = str(error.__cause__).upper()
            if self._plain or not is_loopback(self.host) or not any(word in text for word in _NO_TLS):
                raise
            self.base = self.base.copy_with(scheme="http")
            answer = self._first()
        if answer.status_code not in (200, 401, 403):
            raise NotFound(f"{self.host} is no registry: it answered {answer.status_code} to GET /v2/")
        return self

    @property
    def challenged(self) -> bool:
        """Whether the registry asked for a login."""
        return self._tokens.challenge is not None

    def _first(self) -> httpx.Response:
        answer = self._once(RegistryCall("GET", self.base))
        answer.close()
        if challenge := challenge_of(answer.headers.get_list("www-authenticate")):
            self._tokens.challenged(challenge, ())
            self.quirks = quirks.of(self.host, challenge.service)
        return answer

    def ask(
        self,
        method: str,
        path: str | httpx.URL,
        scopes: tuple[str, ...] = (),
        *,
        headers: Mapping[str, str] | None = None,
        body: Callable[[], Iterator[bytes]] | None = None,
        length: int = 0,
        fine: tuple[int, ...] = (200,),
    ) -> Answer:
        """Send a request and read its answer, a document of at most 4 MiB. Raises an error of ours for a status that
        is not `fine`."""
        url = self.base.join(path) if isinstance(path, str) else path
        with self.opened(RegistryCall(method, url, scopes, headers or {}, body, length), fine) as answer:
            data = _bounded(answer, MAX_DOCUMENT)
            return Answer(answer.status_code, answer.headers, data, answer.request.url)

    @contextmanager
    def opened(self, call: RegistryCall, fine: tuple[int, ...]) -> Generator[httpx.Response]:
        """The answer to a call, its body unread."""
        answer = self._send(call)
        try:
            with self._transport(call.url):
                if answer.status_code not in fine:
                    raise self._error(answer, call)
                yield answer
        finally:
            answer.close()

    def _send(self, call: RegistryCall) -> httpx.Response:
        hops = tries = 0
        asked, left = False, PATIENCE
        while True:
            answer = self._once(call)
            status = answer.status_code
            challenge = challenge_of(answer.headers.get_list("www-authenticate")) if status == 401 else None
            if challenge and not asked and self._ours(call.url):
                asked = True
                self._tokens.challenged(challenge, call.scopes)
            elif (
                status in MOVED
                and hops < REDIRECTS
                and (call.method == "GET" or (status > 303 and call.method != "HEAD"))
            ):
                hops += 1
                call = call._replace(url=self.beside(call.url, answer.headers.get("location", "")))
            elif status in _BUSY and tries < RETRIES and (pause := _pause(answer.headers, tries)) <= left:
                tries, left = tries + 1, left - pause
                self.report(f"{self.host} answered {status}: waiting {pause:.0f} s")
                answer.close()
                self._sleep(pause)
            else:
                return answer
            answer.close()

    def _once(self, call: RegistryCall) -> httpx.Response:
        """One answer. What only reads is asked again where the network broke off."""
        for pause in RECONNECT if call.method in ("GET", "HEAD") else ():
            try:
                return self._answer(call)
            except Unavailable as error:
                if isinstance(error.__cause__, httpx.ConnectError | httpx.ProxyError):
                    raise
            self._sleep(pause)
        return self._answer(call)

    def _answer(self, call: RegistryCall) -> httpx.Response:
        headers = {"User-Agent": "argosy", "Accept-Encoding": "identity", **call.headers}
        if call.method not in ("GET", "HEAD"):
            headers["Content-Length"] = str(call.length)
        if self._ours(call.url):
            headers |= self._tokens.header(call.scopes)
        content = call.body() if call.body else None
        with self._transport(call.url):
            request = self._http.build_request(call.method, call.url, headers=headers, content=content)
            answer = self._http.send(request, stream=True)
        for text in _WARNING.findall(", ".join(answer.headers.get_list("warning"))):
            if text not in self._warned and len(self._warned) < MOST_WARNINGS:
                self._warned.add(text)
                self.report(f"{self.host} warns: {printable(text)}")
        return answer

    def _ours(self, url: httpx.URL) -> bool:
        """Whether a place is the registry itself, so that it may see the login."""
        return (url.scheme, url.host, url.port) == (self.base.scheme, self.base.host, self.base.port)

    def beside(self, url: httpx.URL, location: str) -> httpx.URL:
        """The place that an answer from `url` names. Raises Unavailable where it leads from TLS to plain text."""
        try:
            found = url.join(location)
        except httpx.InvalidURL:
            found = httpx.URL("")
        if not location or found.scheme not in ("http", "https") or not found.host:
            raise Unavailable(f"{self.host} names no place to go on at: '{printable(location[:200])}'")
        if found.scheme == "http" and url.scheme == "https":
            raise Unavailable(f"{self.host} leads to {found.host} in plain text: that is not done")
        return found

    @contextmanager
    def _transport(self, url: httpx.URL) -> Generator[None]:
        """What the network does to a request, as Unavailable."""
        try:
            yield
        except httpx.ProxyError as error:
            raise Unavailable(f"the proxy of the environment does not lead to {url.host}: {error}") from error
        except (httpx.TransportError, httpx.InvalidURL) as error:
            text = str(error) or type(error).__name__
            if "CERTIFICATE_VERIFY_FAILED" in text:
                text += "; a private authority is named by --ca FILE or SSL_CERT_FILE"
            raise Unavailable(f"{url.host} cannot be reached, or broke off: {text}") from error

    def _fetch_token(self, request: httpx.Request) -> tuple[int, bytes]:
        with self._transport(request.url):
            answer = self._http.send(request, stream=True)
            try:
                return answer.status_code, _bounded(answer, MAX_ANSWER)
            finally:
                answer.close()

    def _error(self, answer: httpx.Response, call: RegistryCall) -> ArgosyError:
        """The error of ours for what a registry refused, with the registry's words."""
        status, said = answer.status_code, ""
        try:
            for fault in msgspec.json.decode(_bounded(answer, MAX_ANSWER), type=Faults).errors:
                said = f"{said} {fault.get('code', '')} {fault.get('message', '')}"
        except (msgspec.DecodeError, UnicodeDecodeError, PayloadTooLarge):
            said = ""
        said = f": {printable(' '.join(said.split())[:400])}" if said else ""
        hint = HINTS.get(status, "").format(host=self.host)
        if status == 403 and self.quirks.login:
            hint = f"{hint}; {self.quirks.login}"
        what = f"{self.host} answered {status} to {call.method} {call.url.path}{said}{hint}"
        return from_http(status, what) if 400 <= status < 500 else Unavailable(f"{what}: try later")


def _bounded(answer: httpx.Response, limit: int) -> bytes:
    """A body of at most `limit` bytes. Raises PayloadTooLarge."""
    parts: list[bytes] = []
    for chunk in answer.iter_raw(65536):
        parts.append(chunk)
        limit -= len(chunk)
        if limit < 0:
            url = answer.request.url
            raise PayloadTooLarge(f"{url.host} answered more to {url.path} than a document of a registry may have")
    return b"".join(parts)


def _pause(headers: httpx.Headers, tries: int) -> float:
    """Seconds to wait before the next try: those of Retry-After, given as such or as a date, or more each time."""
    value = headers.get("retry-after", "")
    if value.isdecimal():
        return float(value)
    try:
        then = email.utils.parsedate_to_datetime(value)
        return max((then - datetime.datetime.now(datetime.UTC)).total_seconds(), 0.0)
    except (ValueError, TypeError):
        return 2.0**tries


def _trusting(ca: Path | None) -> ssl.SSLContext:
    """The authorities of this machine or of SSL_CERT_FILE, and those of a file."""
    context = httpx.create_ssl_context()
    if not os.environ.get("SSL_CERT_FILE"):
        context.load_default_certs()
    if ca is not None:
        try:
            context.load_verify_locations(ca)
        except (OSError, ssl.SSLError) as error:
            raise InvalidArgument(f"--ca: {ca} holds no certificates in PEM that can be read: {error}") from None
    return context
