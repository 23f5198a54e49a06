"""The control API as an ASGI application: who may call, how much they may send, and errors from the one table."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, cast

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
    endpoints,
    feedback,
    history,
    jobs,
    keys,
    live,
    models,
    openapi,
    platform,
    rollouts,
    token,
    traffic,
    triggers,
)
from argosy.api.metrics.page import CONTENT_TYPE, Page
from argosy.api.route import Call, Route, Services
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

ROUTES = (
    *endpoints.ROUTES,
    *rollouts.ROUTES,
    *feedback.ROUTES,
    *history.ROUTES,
    *models.ROUTES,
    *keys.ROUTES,
    *platform.ROUTES,
    *live.ROUTES,
    *traffic.ROUTES,
    *jobs.ROUTES,
    *alerts.ROUTES,
    *triggers.ROUTES,
)
MAX_BODY = 1024 * 1024
BODY_SECONDS = 10.0
STREAMS = 32
"""Answers that go on, such as of a log that is followed, at one time."""

Endpointed = Callable[[Request], Awaitable[Response]]


def application(
    services: Services, secret: str, *, any_host: bool = False, pages: Sequence[BaseRoute] = ()
) -> Starlette:
    """The application. Unless `any_host`, only requests for a loopback name are answered, so that no web page can
    reach it through a name of its own. `pages` guard themselves."""

    def guarded(handle: Endpointed) -> Endpointed:
        async def answer(request: Request) -> Response:
            try:
                check_host(request, any_host)
                if not token.matches(request.headers.get("authorization", ""), secret):
                    raise Unauthenticated("the control API needs its token: Authorization: Bearer <run/token>")
                return await handle(request)
            except ArgosyError as error:
                return failed(error)
            except Exception:
                return _bug(request)

        return answer

    async def measured(request: Request) -> Response:
        """`/metrics`, for the control token or the one that opens nothing else."""
        try:
            check_host(request, any_host)
            given = request.headers.get("authorization", "")
            if not (token.matches(given, secret) or token.matches(given, scraper)):
                raise Unauthenticated("/metrics needs a token: Authorization: Bearer <metrics.token>")
            return Response(await page.render(), media_type=CONTENT_TYPE)
        except ArgosyError as error:
            return failed(error)
        except Exception:
            return _bug(request)

    page, scraper = Page(services), token.ensure_metrics(services.home)
    description = as_json(openapi.document(ROUTES, argosy.__version__), 200)

    async def described(_: Request) -> Response:
        return description

    streams: set[object] = set()
    routes: list[BaseRoute] = [
        Served(each.path, guarded(_handler(each, services, streams)), methods=[each.method]) for each in ROUTES
    ]
    routes.append(Served("/openapi.json", guarded(described), methods=["GET"]))
    routes.append(Served("/metrics", measured, methods=["GET"]))
    return Starlette(routes=[*routes, *pages], exception_handlers={404: no_route, 405: no_method})


def _handler(route: Route, services: Services, streams: set[object]) -> Endpointed:
    async def handle(request: Request) -> Response:
        call = Call(
            services=services,
            path=cast("dict[str, str]", request.path_params),
            body=_decoded(route, request, await read_body(request, route.most)),
            query=strict.convert(_query(request), route.query or Nothing, "the query", strict=False),
        )
        if route.answer is None:
            if len(streams) >= STREAMS:
                raise Unavailable(f"{STREAMS} streams are open already; end one, or come again", retry_after=5)
            return StreamingResponse(_counted(await route.handler(call)), media_type="text/plain")
        return as_json(await route.handler(call), route.status)

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


def _query(request: Request) -> dict[str, str]:
    """The last of each parameter. A bare one (`?follow`) means true."""
    return {name: value or "true" for name, value in request.query_params.items()}


def _decoded(route: Route, request: Request, body: bytes) -> Any:
    """The body as the route's type. A declaration may leave its name to the path, and must not contradict it."""
    if route.body is None:
        return None
    if route.body is not Endpoint:
        return strict.decode(body, route.body, "the body")
    name, given = request.path_params["name"], strict.decode(body, dict[str, msgspec.Raw], "the body")
    told = strict.decode(given.setdefault("name", msgspec.Raw(msgspec.json.encode(name))), str, "the body's name")
    if told != name:
        raise InvalidArgument(f"the body declares '{told[:80]}', the path says '{name[:80]}'")
    return strict.decode(msgspec.json.encode(given), Endpoint, "the body")


async def read_body(request: Request, most: int = MAX_BODY) -> bytes:
    """The whole body, of at most so many bytes. Raises PayloadTooLarge, DeadlineExceeded."""
    parts = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                parts += chunk
                if len(parts) > most:
                    raise PayloadTooLarge(f"the body is over {most} bytes")
    except TimeoutError:
        raise DeadlineExceeded(f"the body did not arrive within {BODY_SECONDS:g} s") from None
    except ClientDisconnect:
        raise InvalidArgument("the client left before its body had come") from None
    return bytes(parts)


def check_host(request: Request, any_host: bool) -> None:
    """Raises PermissionDenied for a request that was sent to a name of somebody else."""
    if not any_host:
        port.check_host(request.headers.get("host", ""), "the control API")


def as_json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """An answer."""
    return Response(msgspec.json.encode(value), status, headers, "application/json")


def failed(error: ArgosyError) -> Response:
    """An error of the table as an answer."""
    headers = {} if error.retry_after is None else {"retry-after": str(max(1, round(error.retry_after)))}
    if error.http == Unauthenticated.http:
        headers["www-authenticate"] = "Bearer"
    return as_json(openapi.Error(error.message, error.code), error.http, headers)


def _bug(request: Request) -> Response:
    number = secrets.token_hex(4)
    LOG.exception("request %s: %s %s failed", number, request.method, request.url.path)
    return failed(Internal(f"a bug in the control API; its log has the details under {number}"))


async def no_route(request: Request, _: Exception) -> Response:
    """What a path nobody has is answered."""
    return failed(NotFound(f"the control API has no path {request.url.path[:200]}; see /openapi.json"))


async def no_method(request: Request, error: Exception) -> Response:
    """What a method that a path does not take is answered."""
    allowed = (error.headers or {}).get("Allow", "") if isinstance(error, HTTPException) else ""
    answer = failed(MethodNotAllowed(f"{request.url.path} takes {allowed}, not {request.method}"))
    answer.headers["allow"] = allowed
    return answer
