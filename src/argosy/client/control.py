"""`ControlClient`: the control API of the platform that runs under a home."""

import codecs
import http.client
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from argosy.client.errors import from_answer
from argosy.spec.errors import DeadlineExceeded, Internal, Unavailable
from argosy.spec.settings import Home, home


class Running(msgspec.Struct, frozen=True):
    """`run/control.json`: where the platform of a home listens, its process and when it started."""

    url: str
    pid: int
    started: str | float = ""


def running(place: Home) -> Running | None:
    """What `run/control.json` says, or None when there is none or its process is gone."""
    try:
        found = msgspec.json.decode((place.run / "control.json").read_bytes(), type=Running)
        os.kill(found.pid, 0)
    except (FileNotFoundError, ProcessLookupError, msgspec.MsgspecError):
        return None
    except PermissionError:
        return None
    return found


class ControlClient:
    """Calls to the control API, as JSON. Made for one home: reads its address and token when it is created.

    Raises Unavailable when no platform runs there, and the errors of the API as the error table has them.
    """

    def __init__(self, place: Home | None = None, timeout: float = 30.0) -> None:
        place = place or home()
        found = running(place)
        self._absent = f"no platform is running under {place.root}: start it with  argosy up -d"
        if found is None:
            raise Unavailable(self._absent)
        self.url, self.timeout = found.url.rstrip("/"), timeout
        self._token = _token(place.run / "token")

    def get(self, path: str, **query: Any) -> Any:
        """The decoded answer of a GET; `query` values of None are left out."""
        return self._send("GET", _url(path, query))

    def put(self, path: str, body: Any, **query: Any) -> Any:
        """Send JSON by PUT."""
        return self._send("PUT", _url(path, query), body)

    def post(self, path: str, body: Any = None, **query: Any) -> Any:
        """Send JSON by POST."""
        return self._send("POST", _url(path, query), body)

    def delete(self, path: str, **query: Any) -> Any:
        """DELETE."""
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
        """Every endpoint."""
        return cast("list[dict[str, Any]]", self.get("/v1/endpoints"))

    def endpoint(self, name: str) -> dict[str, Any]:
        """One endpoint. Raises NotFound."""
        return cast("dict[str, Any]", self.get(f"/v1/endpoints/{quote(name, safe='')}"))

    def replicas(self) -> list[dict[str, Any]]:
        """Every replica."""
        return cast("list[dict[str, Any]]", self.get("/v1/replicas"))

    def _send(self, method: str, target: str, body: Any = None) -> Any:
        data = b"" if body is None else msgspec.json.encode(body)
        status, answer = self._exchange(method, target, data)
        if status >= 400:
            raise from_answer(status, answer, self.url + target)
        try:
            return msgspec.json.decode(answer) if answer else None
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Internal(f"{self.url}{target} answered something that is no JSON") from None

    def _exchange(self, method: str, target: str, data: bytes) -> tuple[int, bytes]:
        with self._asked(method, target, data, self.timeout) as answer:
            return answer.status, answer.read()

    @contextmanager
    def _asked(
        self, method: str, target: str, data: bytes, timeout: float | None
    ) -> Generator[http.client.HTTPResponse]:
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        try:
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


def _token(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except OSError as error:
        raise Unavailable(f"the control token {path} cannot be read: {error.strerror}") from None


def _url(path: str, query: dict[str, Any]) -> str:
    given = {name: value for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path
