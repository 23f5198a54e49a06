"""`ControlClient`: the control API of the platform that runs under a home, or of one on another machine."""

import codecs
import hashlib
import hmac
import http.client
import os
import ssl
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from argosy.client.address import parse
from argosy.client.errors import from_answer
from argosy.spec.errors import DeadlineExceeded, Internal, InvalidArgument, PermissionDenied, Unavailable
from argosy.spec.settings import Home, RunFile, home

URL, TOKEN, CA = "ARGOSY_CONTROL_URL", "ARGOSY_CONTROL_TOKEN", "ARGOSY_CONTROL_CA"
"""Variables that name the control API of another machine, its token (or the absolute path of its file), and a
PEM file with what its certificate is verified by, where the system does not know that."""


def running(place: Home) -> RunFile | None:
    """What `run/control.json` says, or None when there is none or its process is gone. Raises PermissionDenied where it
    is another user's, and cannot be read."""
    path = place.control
    try:
        found = msgspec.json.decode(path.read_bytes(), type=RunFile)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None
    except PermissionError:
        raise PermissionDenied(f"{path} cannot be read: run this as the user of {place.root}") from None
    try:
        os.kill(found.pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return found  # it runs, and is another user's
    return found


def reached(environ: Mapping[str, str] = os.environ) -> RunFile | None:
    """The platform that commands talk to: the one that `ARGOSY_CONTROL_URL` names, else the home's. Raises
    InvalidArgument for a URL to which the token would go in clear."""
    if not (url := environ.get(URL, "")):
        return running(home(environ))
    address = parse(url)
    if not address.base.startswith("https://") and not address.loopback:
        raise InvalidArgument(f"{URL} is {url[:80]}: the token would go there in clear, so use https://")
    return RunFile(url=address.base, pid=0)


class ControlClient:
    """Calls to the control API, as JSON. Made for one home, or for what `reached` finds: reads its address and token
    when it is created. TLS is verified: of a home's own platform by the certificate that it has announced.

    Raises Unavailable when no platform runs there, and the errors of the API as the error table has them.
    """

    def __init__(self, place: Home | None = None, timeout: float = 30.0) -> None:
        found = running(place) if place else reached()
        place = place or home()
        self._absent = f"no platform is running under {place.root}: start it with  argosy up -d"
        if found is None:
            raise Unavailable(self._absent)
        self.url, self.timeout = found.url.rstrip("/"), timeout
        self._fingerprint = found.fingerprint
        if not found.pid:
            self._absent = f"no platform answers at {self.url} ({URL})"
        self._token = _token(place.run / "token") if found.pid else _given(os.environ.get(TOKEN, ""))
        self._context = _context(found) if found.url.startswith("https://") else None

    @classmethod
    def at(cls, url: str, token: str, fingerprint: str = "", timeout: float = 30.0) -> "ControlClient":
        """For the API at this URL, whose certificate has this SHA-256 or is known to the system. Raises InvalidArgument
        for a URL to which the token would go in clear."""
        address = parse(url)
        if not address.base.startswith("https://") and not address.loopback:
            raise InvalidArgument(f"the URL is {url[:80]}: the token would go there in clear, so use https://")
        made = cls.__new__(cls)
        made.url, made.timeout, made._token, made._fingerprint = address.base, timeout, token, fingerprint
        made._absent = f"nothing answers at {address.base}"
        found = RunFile(url=address.base, pid=0, fingerprint=fingerprint)
        made._context = _context(found) if address.base.startswith("https://") else None
        return made

    def get(self, path: str, **query: Any) -> Any:
        """The decoded answer of a GET; `query` values of None are left out."""
        return self._send("GET", _url(path, query))

    def put(self, path: str, body: Any, **query: Any) -> Any:
        """Send JSON by PUT."""
        return self._send("PUT", _url(path, query), body)

    def put_file(self, path: str, file: Path) -> None:
        """Send the bytes of a file by PUT."""
        with file.open("rb") as data, self._asked("PUT", path, data, self.timeout) as response:
            answer = response.read()
        if response.status >= 400:
            raise from_answer(response.status, answer, self.url + path)

    def post(self, path: str, body: Any = None, **query: Any) -> Any:
        """Send JSON by POST."""
        return self._send("POST", _url(path, query), body)

    def delete(self, path: str, **query: Any) -> Any:
        return self._send("DELETE", _url(path, query))

    def stream(self, path: str, **query: Any) -> Generator[str]:
        """The text of an answer as it comes, for as long as it comes."""
        target = _url(path, query)
        with self._asked("GET", target, b"", None) as answer:
            if answer.status >= 400:
                raise from_answer(answer.status, answer.read(), self.url + target)
            decoder = codecs.getincrementaldecoder("utf-8")("replace")
            while chunk := answer.read1(65536):
                yield decoder.decode(chunk)

    def endpoints(self) -> list[dict[str, Any]]:
        return cast("list[dict[str, Any]]", self.get("/v1/endpoints"))

    def endpoint(self, name: str) -> dict[str, Any]:
        """One endpoint. Raises NotFound."""
        return cast("dict[str, Any]", self.get(f"/v1/endpoints/{quote(name, safe='')}"))

    def replicas(self) -> list[dict[str, Any]]:
        return cast("list[dict[str, Any]]", self.get("/v1/replicas"))

    def _send(self, method: str, target: str, body: Any = None) -> Any:
        data = b"" if body is None else msgspec.json.encode(body)
        with self._asked(method, target, data, self.timeout) as response:
            answer = response.read()
        if response.status >= 400:
            raise from_answer(response.status, answer, self.url + target)
        try:
            return msgspec.json.decode(answer) if answer else None
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Internal(f"{self.url}{target} answered something that is no JSON") from None

    @contextmanager
    def _asked(
        self, method: str, target: str, data: bytes | BinaryIO, timeout: float | None
    ) -> Generator[http.client.HTTPResponse]:
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        if self._context is None:
            connection = http.client.HTTPConnection(host, parts.port, timeout=timeout)
        else:
            connection = http.client.HTTPSConnection(host, parts.port, timeout=timeout, context=self._context)
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        if not isinstance(data, bytes):
            headers["Content-Length"] = str(os.fstat(data.fileno()).st_size)
        try:
            connection.connect()
            self._check(connection)
            connection.request(method, parts.path + target, data, headers)
            yield connection.getresponse()
        except ConnectionRefusedError:
            raise Unavailable(self._absent) from None
        except TimeoutError:
            raise DeadlineExceeded(f"{self.url}{target} did not answer within {self.timeout:g} s") from None
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"the platform does not answer at {self.url}: {error or type(error).__name__}") from None
        finally:
            connection.close()

    def _check(self, connection: http.client.HTTPConnection) -> None:
        """Nothing is said to whoever shows another certificate than the one that was announced."""
        if self._fingerprint and isinstance(connection.sock, ssl.SSLSocket):
            shown = hashlib.sha256(connection.sock.getpeercert(binary_form=True) or b"").hexdigest()
            if not hmac.compare_digest(shown, self._fingerprint):
                raise Unavailable(f"{self.url} shows another certificate than the platform of this home has announced")


def _context(found: RunFile) -> ssl.SSLContext:
    """Raises InvalidArgument where the file with the authority cannot be read."""
    if not found.fingerprint:
        try:
            return ssl.create_default_context(cafile=os.environ.get(CA) or None)
        except OSError as error:
            raise InvalidArgument(f"{CA}: {os.environ.get(CA)}: {error.strerror or error}") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _given(text: str) -> str:
    """The token that a variable holds, or names by the path of its file."""
    return _token(Path(text)) if text.startswith("/") else text


def _token(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except OSError as error:
        raise Unavailable(f"the control token {path} cannot be read: {error.strerror}") from None


def _url(path: str, query: dict[str, Any]) -> str:
    given = {name: value for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path
