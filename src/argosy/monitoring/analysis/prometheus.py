"""Numbers from a Prometheus server, or what speaks like one: `/api/v1/query`
(https://prometheus.io/docs/prometheus/latest/querying/api/)."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from argosy.spec.errors import InvalidArgument, Unavailable

if TYPE_CHECKING:
    import httpx

SECONDS = 10.0
"""How long one query may take."""
LARGEST_ANSWER = 1024 * 1024


class _Sample(msgspec.Struct):
    value: tuple[float, str] | None = None


class _Data(msgspec.Struct):
    kind: str = msgspec.field(name="resultType")
    result: msgspec.Raw


class _Answer(msgspec.Struct):
    status: str
    data: _Data | None = None
    error: str = ""


class Prometheus:
    """A client for one server. `token_file` is read for every query, so that its token may change."""

    def __init__(self, url: str, token_file: str = "", seconds: float = SECONDS) -> None:
        self._url = f"{url.rstrip('/')}/api/v1/query"
        self._token_file, self._seconds = token_file, seconds
        self._client: httpx.AsyncClient | None = None

    async def number(self, query: str, at: float) -> float | None:
        """The number a query gives for the time `at` (seconds since 1970); None where there is no data.

        Raises Unavailable where the server does not answer, InvalidArgument where the answer is not one number.
        """
        import httpx

        if self._client is None:
            self._client = httpx.AsyncClient(timeout=self._seconds)
        form = {"query": query, "time": f"{at:.3f}", "timeout": f"{self._seconds:g}s"}
        try:
            async with self._client.stream("POST", self._url, data=form, headers=self._headers()) as answer:
                body = await _bounded(answer)
                return read(body, answer.status_code)
        except httpx.TimeoutException:
            raise Unavailable(f"Prometheus did not answer within {self._seconds:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unavailable(f"Prometheus cannot be reached: {str(error) or type(error).__name__}") from None

    def _headers(self) -> dict[str, str]:
        if not self._token_file:
            return {}
        try:
            return {"authorization": f"Bearer {Path(self._token_file).read_text().strip()}"}
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise Unavailable(f"prometheus.token_file: {self._token_file} cannot be read: {why}") from None

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None


async def _bounded(answer: "httpx.Response") -> bytes:
    body = b""
    async for part in answer.aiter_bytes():
        body += part
        if len(body) > LARGEST_ANSWER:
            raise InvalidArgument(f"Prometheus answered with more than {LARGEST_ANSWER >> 20} MiB; ask for one number")
    return body


def read(body: bytes, status: int = 200) -> float | None:
    """The one number in an answer: a scalar, or a vector of one series. None: an empty vector, or not finite.

    Raises InvalidArgument for a query that is refused or gives something else, Unavailable for an error of the server.
    """
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Unavailable(f"Prometheus answered with status {status} and not as its API does") from None
    if answer.status != "success" or answer.data is None:
        kind = InvalidArgument if status in (400, 422) else Unavailable
        raise kind(f"Prometheus answered: {answer.error[:300] or f'status {status}'}")
    try:
        text = _text(answer.data)
        value = math.nan if text is None else float(text)
    except (msgspec.DecodeError, ValueError):
        raise Unavailable("Prometheus answered with a result that is not as its API says") from None
    return value if math.isfinite(value) else None


def _text(data: _Data) -> str | None:
    if data.kind == "scalar":
        return msgspec.json.decode(data.result, type=tuple[float, str])[1]
    if data.kind != "vector":
        raise InvalidArgument(f"the query gives a {data.kind}; it must give one number")
    series = msgspec.json.decode(data.result, type=list[_Sample])
    if len(series) > 1:
        raise InvalidArgument(f"the query gives {len(series)} series; it must give one: use sum(...) or avg(...)")
    if series and series[0].value is None:
        raise InvalidArgument("the query gives a histogram; it must give one number")
    return series[0].value[1] if series and series[0].value else None
