"""The console's routes, and who may come in."""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from urllib.parse import parse_qs, quote, urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from argosy.api import token
from argosy.api.application import check_host, failed, read_body
from argosy.api.route import Services
from argosy.console import action, alert, endpoint, entrance, job, model, overview, watch
from argosy.console.data import Data, Part
from argosy.console.database import DatabaseReader
from argosy.console.pages import HEADERS, HERE, ROOT, Ask, Desk
from argosy.console.session import Sessions
from argosy.spec.errors import ArgosyError, Internal, InvalidArgument, NotFound, PermissionDenied, Unauthenticated

KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".txt": "text/plain"}
FILES = {path.name: path for path in (HERE / "static").iterdir() if path.suffix in KINDS}


async def serve(request: Request) -> Response:
    """A file by its name. They are the same for everybody, and asked for again only when the version is another."""
    path = FILES.get(request.path_params["name"])
    if path is None:
        return Response("there is no such file", 404, HEADERS, "text/plain")
    headers = HEADERS | {"cache-control": "private, max-age=86400"}
    return Response(path.read_bytes(), 200, headers, f"{KINDS[path.suffix]}; charset=utf-8")


async def page(desk: Desk, ask: Ask) -> Response:
    """Every key, good ones first. The text of a key is nowhere to be shown: only its hash is kept."""
    found = await asyncio.to_thread(desk.services.store.keys.list)
    return desk.render(ask, "keys.html", keys=sorted(found, key=lambda each: (each.revoked is not None, each.created)))


LOG = logging.getLogger(__name__)

Page = Callable[[Desk, Ask], Awaitable[Response]]

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
    ("GET", "/endpoints/{name}/rollout", endpoint.rollout),
    ("GET", "/endpoints/{name}/history", endpoint.history),
    ("GET", "/endpoints/{name}/declaration", endpoint.declaration),
    ("GET", "/endpoints/{name}/do/{action}", action.confirm),
    ("POST", "/endpoints/{name}/do/{action}", action.perform),
    ("GET", "/endpoints/{name}/drift", watch.drift),
    ("GET", "/endpoints/{name}/performance", watch.performance),
    ("GET", "/alerts", alert.page),
    ("GET", "/alerts/mute", alert.confirm),
    ("POST", "/alerts/mute", alert.mute),
    ("GET", "/models", model.every),
    ("GET", "/models/{name}", model.one),
    ("GET", "/models/{name}/{number}", model.version),
    ("GET", "/jobs", job.page),
    ("GET", "/jobs/{name}", job.one),
    ("GET", "/jobs/{name}/cancel", job.confirm),
    ("POST", "/jobs/{name}/cancel", job.cancel),
    ("GET", "/keys", page),
    ("POST", "/logout", entrance.leave),
)
"""What needs a session."""
FORM = 32 * 1024
"""Bytes of a form."""


def pages(services: Services, secret: str, data: Data | None = None) -> Sequence[BaseRoute]:
    """The routes for the application of the control API. `secret` is its token, `data` what monitoring has written."""
    desk = Desk(services, Sessions(secret), data or DatabaseReader(services.store.database))
    any_host = services.settings.control.expose
    routes = [_route(desk, method, path, page, any_host, "") for method, path, page in OPEN]
    routes += [_route(desk, method, path, page, any_host, "session") for method, path, page in PAGES]
    routes.append(_tickets(desk, secret, any_host))
    routes.append(Route(ROOT + "/static/{name}", serve, methods=["GET"]))
    routes.append(_route(desk, "GET", "/{path:path}", _missing, any_host, "session"))
    return routes


def _route(desk: Desk, method: str, path: str, page: Page, any_host: bool, needs: str) -> Route:
    async def answer(request: Request) -> Response:
        ask = Ask(request=request, path=request.path_params, session=_session(desk, request))
        try:
            check_host(request, any_host)
            if needs and not ask.session:
                return _to_login(ask)
            if ask.session:
                ask = msgspec.structs.replace(ask, has=await asyncio.to_thread(_parts, desk))
            if method == "POST":
                ask = await _posted(desk, ask)
            return await page(desk, ask)
        except ArgosyError as error:
            return _told(desk, ask, error)
        except Exception:
            number = secrets.token_hex(4)
            LOG.exception("request %s: %s %s failed", number, request.method, request.url.path)
            return _told(desk, ask, Internal(f"a bug in the console; control.log has the details under {number}"))

    return Route(ROOT + path, answer, methods=[method])


def _parts(desk: Desk) -> frozenset[Part]:
    """The parts that there are; none while the database does not answer: what was seen last is shown still."""
    try:
        return desk.data.has
    except ArgosyError:
        return frozenset()


def _session(desk: Desk, request: Request) -> str:
    cookie = request.cookies.get(desk.sessions.cookie, "")
    return cookie if desk.sessions.valid(cookie) else ""


async def _posted(desk: Desk, ask: Ask) -> Ask:
    """The form of a POST from a page of ours. Raises PermissionDenied for one from elsewhere."""
    request = ask.request
    origin = request.headers.get("origin", "")
    if origin and urlsplit(origin).netloc.lower() != request.headers.get("host", "").lower():
        raise PermissionDenied("this form was sent by a page of somebody else")
    try:
        fields = parse_qs((await read_body(request, FORM)).decode(), keep_blank_values=True, max_num_fields=50)
    except ValueError:
        raise InvalidArgument("the form cannot be read") from None
    form: Mapping[str, str] = {name: values[-1] for name, values in fields.items()}
    if ask.session and not desk.sessions.check_form(ask.session, form.get("form_token", "")):
        raise PermissionDenied("this form is not from a page of this session: load the page again")
    return msgspec.structs.replace(ask, form=form)


def _to_login(ask: Ask) -> Response:
    if ask.partial:
        return Response(status_code=401, headers={**HEADERS, "hx-redirect": f"{ROOT}/login"})
    path = ask.request.url.path
    return RedirectResponse(f"{ROOT}/login?next={quote(path)}", 303, HEADERS)


def _told(desk: Desk, ask: Ask, error: ArgosyError) -> Response:
    return desk.render(ask, "error.html", error.http, message=error.message, title=_title(error))


def _title(error: ArgosyError) -> str:
    return error.code.replace("_", " ").capitalize()


async def _missing(desk: Desk, ask: Ask) -> Response:
    if not ask.path["path"]:
        return RedirectResponse(ROOT, 303, HEADERS)
    raise NotFound(f"the console has no page {ask.request.url.path[:200]}")


def _tickets(desk: Desk, secret: str, any_host: bool) -> Route:
    """`POST /console/tickets`, with the control API's token: the path of a login that works once."""

    async def answer(request: Request) -> Response:
        try:
            check_host(request, any_host)
            if not token.matches(request.headers.get("authorization", ""), secret):
                raise Unauthenticated("a ticket needs the control API's token: Authorization: Bearer <run/token>")
        except ArgosyError as error:
            return failed(error)
        body = f'{{"path":"{ROOT}/enter?ticket={desk.sessions.ticket()}"}}'
        return Response(body, 201, HEADERS, "application/json")

    return Route(ROOT + "/tickets", answer, methods=["POST"])
