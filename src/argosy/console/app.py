"""The console's routes, and who may use them."""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import parse_qs, quote, urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from argosy.api import token
from argosy.api.application import answered, check_host, read_body
from argosy.api.route import Services
from argosy.console import action, cost, endpoint, entrance, fleets, model, monitoring, overview, regions
from argosy.console.pages import HEADERS, HERE, ROOT, Console, PageRequest, see
from argosy.console.session import Sessions
from argosy.spec.errors import ArgosyError, Internal, InvalidArgument, NotFound, PermissionDenied, Unauthenticated

LOG = logging.getLogger(__name__)

KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".txt": "text/plain"}
FILES = {path.name: path for path in (HERE / "static").iterdir() if path.suffix in KINDS}
FORM = 32 * 1024
"""Bytes of a form."""

Page = Callable[[Console, PageRequest], Awaitable[Response]]

OPEN: tuple[tuple[str, str, Page], ...] = (
    ("GET", "/login", entrance.login),
    ("POST", "/login", entrance.enter),
    ("GET", "/enter", entrance.redeem),
    ("POST", "/theme", entrance.theme),
)
"""What anybody may ask: it shows nothing of the platform."""

PAGES: tuple[tuple[str, str, Page], ...] = (
    ("GET", "", overview.page),
    ("GET", "/endpoints/{name}", endpoint.page),
    ("POST", "/endpoints/{name}/ask", endpoint.ask),
    ("GET", "/endpoints/{name}/rollout", endpoint.rollout),
    ("GET", "/endpoints/{name}/history", endpoint.history),
    ("GET", "/endpoints/{name}/declaration", endpoint.declaration),
    ("GET", "/endpoints/{name}/do/{action}", action.confirm),
    ("POST", "/endpoints/{name}/do/{action}", action.perform),
    ("GET", "/endpoints/{name}/drift", monitoring.drift),
    ("GET", "/endpoints/{name}/performance", monitoring.performance),
    ("GET", "/alerts", overview.alerts),
    ("GET", "/alerts/mute", action.confirm_mute),
    ("POST", "/alerts/mute", action.mute),
    ("GET", "/models", model.every),
    ("GET", "/models/{name}", model.one),
    ("GET", "/models/{name}/{number}", model.version),
    ("GET", "/jobs", overview.jobs),
    ("GET", "/jobs/{name}", overview.job),
    ("GET", "/jobs/{name}/cancel", action.confirm_cancel),
    ("POST", "/jobs/{name}/cancel", action.cancel),
    ("GET", "/fleets", fleets.every),
    ("GET", "/fleets/{name}", fleets.one),
    ("GET", "/regions", regions.page),
    ("GET", "/plans", regions.plans),
    ("GET", "/keys", overview.keys),
    ("GET", "/usage", overview.usage),
    ("GET", "/cost", cost.page),
    ("POST", "/logout", entrance.leave),
)
"""What needs a session."""


def pages(services: Services, secret: str) -> Sequence[BaseRoute]:
    """The routes for the application of the control API. `secret` is its token."""
    console, any_host = Console(services, Sessions(secret)), services.settings.control.expose
    routes = [_route(console, method, path, page, any_host, guarded=False) for method, path, page in OPEN]
    routes += [_route(console, method, path, page, any_host) for method, path, page in PAGES]

    async def ticket(request: Request) -> Response:
        """With the control API's token: the path of a login that works once."""
        check_host(request, any_host)
        if not token.matches(request.headers.get("authorization", ""), secret):
            raise Unauthenticated("a ticket needs the control API's token: Authorization: Bearer <run/token>")
        body = f'{{"path":"{ROOT}/enter?ticket={console.sessions.ticket()}"}}'
        return Response(body, 201, HEADERS, "application/json")

    routes.append(answered(ROOT + "/tickets", "POST", ticket))
    routes.append(Route(ROOT + "/static/{name}", _static, methods=["GET"]))
    routes.append(_route(console, "GET", "/{path:path}", _missing, any_host))
    return routes


def _route(console: Console, method: str, path: str, page: Page, any_host: bool, *, guarded: bool = True) -> BaseRoute:
    async def answer(request: Request) -> Response:
        cookie = request.cookies.get(console.sessions.cookie, "")
        session = cookie if console.sessions.valid(cookie) else ""
        ask = PageRequest(request=request, path=request.path_params, session=session)
        try:
            check_host(request, any_host)
            if guarded and not session:
                if ask.partial:
                    return Response(status_code=401, headers={**HEADERS, "hx-redirect": f"{ROOT}/login"})
                return see(f"{ROOT}/login?next={quote(request.url.path)}")
            if session:
                ask = msgspec.structs.replace(ask, has=await asyncio.to_thread(console.parts))
            if method == "POST":
                ask = msgspec.structs.replace(ask, form=await _form(console, ask))
            return await page(console, ask)
        except ArgosyError as failure:
            error = failure
        except Exception:
            number = secrets.token_hex(4)
            LOG.exception("request %s: %s %s failed", number, request.method, request.url.path)
            error = Internal(f"a bug in the console; control.log has the details under {number}")
        title = error.code.replace("_", " ").capitalize()
        return console.render(ask, "error.html", error.http, message=error.message, title=title)

    return Route(ROOT + path, answer, methods=[method])


async def _form(console: Console, ask: PageRequest) -> dict[str, str]:
    """The form of a POST from a page of ours. Raises PermissionDenied for one from elsewhere."""
    request = ask.request
    origin = request.headers.get("origin", "")
    if origin and urlsplit(origin).netloc.lower() != request.headers.get("host", "").lower():
        raise PermissionDenied("this form was sent by a page of somebody else")
    try:
        fields = parse_qs((await read_body(request, FORM)).decode(), keep_blank_values=True, max_num_fields=50)
    except ValueError:
        raise InvalidArgument("the form cannot be read") from None
    form = {name: values[-1] for name, values in fields.items()}
    if ask.session and not console.sessions.check_form(ask.session, form.get("form_token", "")):
        raise PermissionDenied("this form is not from a page of this session: load the page again")
    return form


async def _static(request: Request) -> Response:
    """A file by its name. They are the same for everybody, and asked for again only when the version is another."""
    path = FILES.get(request.path_params["name"])
    if path is None:
        return Response("there is no such file", 404, HEADERS, "text/plain")
    headers = HEADERS | {"cache-control": "private, max-age=86400"}
    return Response(path.read_bytes(), 200, headers, f"{KINDS[path.suffix]}; charset=utf-8")


async def _missing(console: Console, ask: PageRequest) -> Response:
    if not ask.path["path"]:
        return see(ROOT)
    raise NotFound(f"the console has no page {ask.request.url.path[:200]}")
