"""The control API as an ASGI application: who may call, how much they may send, and errors from the one table."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute
from starlette.routing import Route as Served

import argosy
from argosy.api import (
    alerts,
    costs,
    deployments,
    endpoints,
    feedback,
    fleets,
    gateways,
    history,
    jobs,
    models,
    offers,
    openapi,
    plans,
    platform,
    regions,
    rollouts,
    supply,
    token,
    traffic,
    usage,
)
from argosy.api.metrics.page import CONTENT_TYPE, Page
from argosy.api.route import Route, Services
from argosy.serving import port
from argosy.spec import strict
from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import (
    ArgosyError,
    DeadlineExceeded,
    Internal,
    InvalidArgument,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    Unauthenticated,
    Unavailable,
)

LOG = logging.getLogger(__name__)

MODULES = (
    endpoints,
    rollouts,
    gateways,
    regions,
    plans,
    feedback,
    history,
    models,
    offers,
    platform,
    supply,
    traffic,
    usage,
    jobs,
    alerts,
    fleets,
    deployments,
    costs,
)
ROUTES = tuple(route for module in MODULES for route in module.ROUTES)
MAX_BODY = 1024 * 1024
GATEWAY = "gateway.token"
BODY_SECONDS = 10.0
STREAMS = 32
"""Answers that go on, such as of a log that is followed, at one time."""

Endpointed = Callable[[Request], Awaitable[Response]]


def application(
    services: Services, secret: str, *, any_host: bool = False, pages: Sequence[BaseRoute] = ()
) -> Starlette:
    """The application. Unless `any_host`, only requests for a loopback name are answered, so that no web page can
    reach it through a name of its own. `pages` guard themselves."""
    page, scraper = Page(services), token.ensure_of(services.home, "metrics")
    description = as_json(openapi.document(ROUTES, argosy.__version__))

    def guarded(path: str, method: str, handle: Endpointed, other: str = "", file: str = "") -> BaseRoute:
        """A route for the control token, or for the `other` one, which lies in `file` and opens nothing else."""

        async def answer(request: Request) -> Response:
            check_host(request, any_host)
            given = request.headers.get("authorization", "")
            if not token.matches(given, secret) and not (other and token.matches(given, other)):
                what, name = (path, file) if file else ("the control API", "run/token")
                raise Unauthenticated(f"{what} needs its token: Authorization: Bearer <{name}>")
            return await handle(request)

        return answered(path, method, answer)

    async def described(_: Request) -> Response:
        return description

    async def measured(_: Request) -> Response:
        return Response(await page.render(), media_type=CONTENT_TYPE)

    streams: set[object] = set()
    known = token.ensure_of(services.home, "gateway") if services.followers else ""
    routes = [
        guarded(each.path, each.method, _handler(each, services, streams), *((known, GATEWAY) if each.gateways else ()))
        for each in ROUTES
    ]
    routes.append(guarded("/openapi.json", "GET", described))
    routes.append(guarded("/metrics", "GET", measured, scraper, "metrics.token"))
    return Starlette(routes=[*routes, *pages], exception_handlers={404: no_route, 405: no_method})


def answered(path: str, method: str, handle: Endpointed) -> BaseRoute:
    """A route whose errors are answered as the error table says; a bug is logged under a number."""

    async def answer(request: Request) -> Response:
        try:
            return await handle(request)
        except ArgosyError as error:
            return failed(error)
        except Exception:
            number = secrets.token_hex(4)
            LOG.exception("request %s: %s %s failed", number, request.method, request.url.path)
            return failed(Internal(f"a bug in the control API; its log has the details under {number}"))

    return Served(path, answer, methods=[method])


def _handler(route: Route, services: Services, streams: set[object]) -> Endpointed:
    async def handle(request: Request) -> Response:
        given: dict[str, Any] = dict(request.path_params)
        body = await read_body(request, route.most)
        if route.body is not None:
            given["body"] = _decoded(route, request, body)
        query = {name: value or "true" for name, value in request.query_params.items()}  # a bare `?follow` means true
        found = strict.convert(query, route.query or Nothing, "the query", strict=False)
        if route.query is not None:
            given["query"] = found
        if not route.streams:
            return as_json(await route.handler(services, **given), route.status)
        if len(streams) >= STREAMS:
            raise Unavailable(f"{STREAMS} streams are open already; end one, or come again", retry_after=5)
        return StreamingResponse(_counted(await route.handler(services, **given)), media_type="text/plain")

    async def _counted(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        streams.add(mine := object())
        try:
            async for chunk in chunks:
                yield chunk
        finally:
            streams.discard(mine)

    return handle


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The query of a route that has none."""


def _decoded(route: Route, request: Request, body: bytes) -> Any:
    """The body as the route's type. A declaration may leave its name to the path, and must not contradict it."""
    if route.body is not Endpoint:
        return strict.decode(body, route.body, "the body")
    path, given = request.path_params["name"], strict.decode(body, dict[str, msgspec.Raw], "the body")
    name = strict.decode(given.setdefault("name", msgspec.Raw(msgspec.json.encode(path))), str, "the body's name")
    if name != path:
        raise InvalidArgument(f"the body declares '{name[:80]}', the path says '{path[:80]}'")
    return strict.decode(msgspec.json.encode(given), Endpoint, "the body")


async def read_body(request: Request, most: int = MAX_BODY, seconds: float = BODY_SECONDS) -> bytes:
    """The whole body, of at most so many bytes. Raises PayloadTooLarge, DeadlineExceeded."""
    parts = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                parts += chunk
                if len(parts) > most:
                    raise PayloadTooLarge(f"the body is over {most} bytes")
    except TimeoutError:
        raise DeadlineExceeded(f"the body did not arrive within {seconds:g} s") from None
    except ClientDisconnect:
        raise InvalidArgument("the client left before its body had come") from None
    return bytes(parts)


def check_host(request: Request, any_host: bool) -> None:
    """Raises PermissionDenied for a request that was sent to a name of somebody else."""
    if not any_host:
        port.check_host(request.headers.get("host", ""), "the control API")


def as_json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), status, headers, "application/json")


def failed(error: ArgosyError) -> Response:
    """An error of the table as an answer."""
    headers = {} if error.retry_after is None else {"retry-after": str(max(1, round(error.retry_after)))}
    if error.http == Unauthenticated.http:
        headers["www-authenticate"] = "Bearer"
    return as_json(openapi.Error(error.message, error.code), error.http, headers)


async def no_route(request: Request, _: Exception) -> Response:
    """The answer to an unknown path."""
    return failed(NotFound(f"the control API has no path {request.url.path[:200]}; see /openapi.json"))


async def no_method(request: Request, error: Exception) -> Response:
    """The answer to a method that a path does not take."""
    allowed = (error.headers or {}).get("Allow", "") if isinstance(error, HTTPException) else ""
    answer = failed(MethodNotAllowed(f"{request.url.path} takes {allowed}, not {request.method}"))
    answer.headers["allow"] = allowed
    return answer
