"""`python -m argosy.supply.overflow HOME`: sends requests that exceed capacity to external providers, within a budget.

The gateway has each provider as a peer, at this process. What comes without a provider's secret is refused. Of the
day's budget a part is leased from the database before anything is sent, and what was not used given back: killed, the
process leaves that part counted as spent, so that no day costs more than its budget. Where it is spent the gateway
hears that nothing answers here.
"""

import asyncio
import contextlib
import hmac
import logging
import os
import re
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import httpx
import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from argosy.gateway.peers import TOKEN, WHOSE
from argosy.spec.errors import ArgosyError, InvalidArgument, NotFound, PayloadTooLarge, Unauthenticated, Unavailable
from argosy.spec.offer import CostRow
from argosy.spec.secret import resolved
from argosy.spec.settings import Home, load
from argosy.spec.supply import External
from argosy.store import costs
from argosy.store import offers as store
from argosy.store.costs import EXTERNAL, HOUR
from argosy.store.database import Database
from argosy.supply import external
from argosy.supply.external import OverflowConfig

LOG = logging.getLogger(__name__)
SHARE = 0.02
"""Of a day's budget that is leased at once."""
DAY = 86400
BOOKED = 5.0
"""Seconds until what requests cost is written into the ledger of cost."""
TIMEOUT = httpx.Timeout(600.0, connect=5.0)
PASSED = ("content-type", "retry-after", "openai-processing-ms", "x-request-id")
"""Headers of an answer that are passed on; those of a request are its type, and the provider's key."""
OIP = re.compile(r"/v2/models/([^/]+)/infer")


def config_file(run: Path) -> Path:
    """Where the platform says which providers there are."""
    return run / "overflow.json"


class Purse:
    """What may be spent at one provider."""

    def __init__(self, database: Database, provider: str) -> None:
        self._database, self._provider = database, provider
        self._left, self._day = 0.0, 0
        self._lock = asyncio.Lock()
        self._sent: list[float] = []

    async def take(self, dollars: float, at: External, now: float) -> int:
        """The day that pays. Raises Unavailable where its budget has no such sum left, or too many requests came in a
        second."""
        async with self._lock:
            self._sent = [each for each in self._sent if each > now - 1]
            if len(self._sent) >= max(1.0, at.rate):
                raise Unavailable(f"'{self._provider}' takes {at.rate:g} requests a second", retry_after=1)
            if self._day != int(now // DAY):
                self._left, self._day = 0.0, int(now // DAY)
            if self._left < dollars:
                more = max(dollars - self._left, SHARE * at.budget)
                if not await self._lease(more, at.budget) and not await self._lease(
                    more := dollars - self._left, at.budget
                ):
                    left = DAY - now % DAY
                    raise Unavailable(f"the budget of '{self._provider}' for today is spent", retry_after=left)
                self._left += more
            self._left -= dollars
            self._sent.append(now)
            return self._day

    async def room(self, at: External, now: float) -> bool:
        """Whether a typical request could be paid."""
        day, one = int(now // DAY), external.price(at, *external.TYPICAL)
        if self._day == day and self._left >= one:
            return True
        known = await asyncio.to_thread(store.spent, self._database, day)
        return known.get(self._provider, 0.0) + one <= at.budget

    def back(self, dollars: float, day: int) -> None:
        """Not all that was taken was used; what another day paid stays spent."""
        self._left += dollars if day == self._day else 0.0

    async def close(self) -> None:
        """Give back what is left; or write down what was used beyond what was thought to be the most."""
        if self._left:
            await self._lease(-self._left, float("inf"))

    async def _lease(self, dollars: float, budget: float) -> bool:
        return await asyncio.to_thread(store.spend, self._database, self._provider, self._day, dollars, budget)


class Overflow:
    """Sends requests on. `transport` stands for the providers in tests."""

    def __init__(
        self, config: OverflowConfig, database: Database, most: int, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._config, self._most, self._database = config, most, database
        self._rows: list[CostRow] = []
        self._writing: asyncio.Task[None] | None = None
        self._purses = {name: Purse(database, name) for name in config.external}
        self._http = httpx.AsyncClient(timeout=TIMEOUT, transport=transport)

    def application(self) -> Starlette:
        """What listens."""
        routes = [
            Route("/v2/models/{endpoint}/peer", self.health),
            Route("/{path:path}", self.send, methods=["POST"]),
        ]
        return Starlette(routes=routes, exception_handlers={ArgosyError: _refuse}, lifespan=self._lifespan)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncGenerator[None]:
        yield
        await self._http.aclose()
        if self._writing is not None:
            self._writing.cancel()
        await self._write(0.0)
        for purse in self._purses.values():
            await purse.close()

    async def health(self, request: Request) -> Response:
        """Whether an endpoint may overflow to this provider, where there is nothing better."""
        name, at = self._provider(request)
        there = request.path_params["endpoint"] in at.models and await self._purses[name].room(at, time.time())
        return Response(status_code=200 if there else 503, headers={"x-envoy-degraded": "true"})

    async def send(self, request: Request) -> Response:
        """One request, and its answer as it comes."""
        name, at = self._provider(request)
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > self._most:
                raise PayloadTooLarge(f"a body may have {self._most} bytes")
        sent = translate(at, request.url.path, bytes(body))
        worst, now = external.most(at, sent.body, sent.says), time.time()
        day = await self._purses[name].take(worst, at, now)
        try:
            key = resolved(at.key, os.environ, f"supply.external.{name}.key") if at.key else ""
            headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
            there = self._http.build_request("POST", at.url.rstrip("/") + sent.path, content=sent.body, headers=headers)
            answer = await self._http.send(there, stream=True)
        except (httpx.HTTPError, InvalidArgument) as error:
            self._purses[name].back(worst, day)
            raise Unavailable(f"'{name}' does not answer: {type(error).__name__}: {error}") from None
        row = CostRow(
            hour=int(now) // HOUR * HOUR,
            endpoint=sent.endpoint,
            version=EXTERNAL + name,
            use="requests",
            key=request.headers.get(WHOSE, ""),
            region=at.region,
            requests=1,
            cost=worst,
        )
        passed = {header: answer.headers[header] for header in PASSED if header in answer.headers}
        return SentAnswer(self._answer(at, answer, row, day, hidden=sent.hidden), answer.status_code, passed)

    async def _answer(
        self, at: External, answer: httpx.Response, row: CostRow, day: int, *, hidden: bool
    ) -> AsyncIterator[bytes]:
        """The answer as it comes; afterwards what it did not cost is given back, and the rest booked. One that says
        nothing of its tokens, or is broken off, costs all that it could have. With `hidden` the caller has not asked
        for the event of usage."""
        flat = answer.status_code >= 400 or not at.input + at.output
        used = (0.0 if answer.status_code >= 400 else at.request, 0) if flat else None
        streams = answer.headers.get("content-type", "").startswith("text/event-stream")
        tail = b""
        try:
            async for part in answer.aiter_bytes():
                *lines, tail = (tail + part).split(b"\n") if streams else [tail + part]
                for line in lines:
                    told = external.cost(at, line.removeprefix(b"data:").strip()) if b'"usage"' in line else None
                    used = used if told is None else told
                    if not (hidden and told is not None and b'"choices":[]' in line.replace(b" ", b"")):
                        yield line + b"\n"
                if not streams:
                    yield part
            if streams and tail:
                yield tail
            used = external.cost(at, tail) if used is None else used
        finally:
            cost, tokens = used or (row.cost, 0)
            self._purses[row.version.removeprefix(EXTERNAL)].back(row.cost - cost, day)
            self._rows.append(msgspec.structs.replace(row, cost=cost, tokens=tokens))
            if self._writing is None or self._writing.done():
                self._writing = asyncio.get_running_loop().create_task(self._write(BOOKED))
            await answer.aclose()

    async def _write(self, after: float) -> None:
        """Write rows of the ledger of cost."""
        await asyncio.sleep(after)
        rows, self._rows = self._rows, []
        try:
            await asyncio.to_thread(self._add, rows)
        except ArgosyError as error:
            LOG.warning("%d rows of the ledger of cost wait: %s", len(rows), error.message)
            self._rows = rows + self._rows

    def _add(self, rows: list[CostRow]) -> None:
        with self._database.begin() as connection:
            costs.add(connection, rows)

    def _provider(self, request: Request) -> tuple[str, External]:
        shown = request.headers.get(TOKEN, "").encode()
        for name, token in self._config.tokens.items():
            if hmac.compare_digest(token.encode(), shown) and name in self._config.external:
                return name, self._config.external[name]
        raise Unauthenticated("only the gateway of this platform sends requests here")


class SentAnswer(StreamingResponse):
    """An answer whose source is closed at once where the caller leaves, and not when memory is tidied."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await cast("AsyncGenerator[bytes]", self.body_iterator).aclose()


class Sent(NamedTuple):
    """A request of an `endpoint` as the provider has it: its path and body, and what that `says`. `hidden`: it is asked
    for the event of usage, which the caller has not."""

    endpoint: str
    path: str
    body: bytes
    says: Mapping[str, Any]
    hidden: bool = False


def translate(at: External, path: str, body: bytes) -> Sent:
    """A request as the provider has it. Raises NotFound, InvalidArgument."""
    try:
        asked: Any = msgspec.json.decode(body)
    except msgspec.MsgspecError as error:
        raise InvalidArgument(f"the body is no JSON: {error}") from None
    if not isinstance(asked, dict):
        raise InvalidArgument("the body is no object of JSON")
    found: dict[str, Any] = {**asked}
    if at.protocol == "oip":
        match = OIP.fullmatch(path)
        model = at.models.get(match[1]) if match else None
        if match is None or model is None:
            raise NotFound("only /v2/models/NAME/infer overflows, in JSON")
        return Sent(match[1], f"/v2/models/{model}/infer", body, found)
    endpoint = str(found.get("model")).partition(":")[0]
    model = at.models.get(endpoint)
    if path not in external.PATHS or model is None:
        raise NotFound(f"only {', '.join(external.PATHS)} overflow")
    found["model"] = model
    options: Any = found.get("stream_options") or {}
    if not isinstance(options, dict):
        raise InvalidArgument("stream_options is no object")
    wanted = {**cast("dict[str, Any]", options), "include_usage": True}
    hidden = bool(found.get("stream")) and path in external.PATHS[:2] and options != wanted
    if hidden:
        found["stream_options"] = wanted
    return Sent(endpoint, path, msgspec.json.encode(found), found, hidden)


async def _refuse(_: Request, error: Exception) -> Response:
    assert isinstance(error, ArgosyError)
    headers = {"retry-after": f"{max(1.0, error.retry_after):.0f}"} if error.retry_after else {}
    body = msgspec.json.encode({"error": {"message": error.message, "type": error.code, "code": error.code}})
    return Response(body, error.http, headers, "application/json")


def main(folder: str) -> None:
    """Run until told to end."""
    import uvicorn

    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    home = Home(Path(folder))
    settings = load(home)
    config = msgspec.json.decode(config_file(home.run).read_bytes(), type=OverflowConfig)
    database = Database(settings.store.database or home.database).create()
    app = Overflow(config, database, settings.gateway.max_body_bytes).application()
    uvicorn.run(app, host="127.0.0.1", port=config.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main(sys.argv[1])
