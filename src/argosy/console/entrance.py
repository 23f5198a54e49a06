"""Coming in and leaving: by a one-time ticket or by the token, and the choice of light or dark."""

from typing import Any

from starlette.responses import RedirectResponse, Response

from argosy.api import token as tokens
from argosy.console.pages import HEADERS, ROOT, THEME_COOKIE, THEMES, Ask, Desk
from argosy.console.session import DAYS
from argosy.spec.errors import InvalidArgument

YEAR = 365 * 86400


async def login(desk: Desk, ask: Ask) -> Response:
    """The form that takes the token."""
    if ask.session:
        return RedirectResponse(ROOT, 303, HEADERS)
    return desk.render(ask, "login.html", next=_inside(ask.query.get("next", "")), wrong=False)


async def enter(desk: Desk, ask: Ask) -> Response:
    """Begin a session, if the token is right."""
    inside = _inside(ask.form.get("next", ""))
    secret = tokens.ensure(desk.services.home)
    if not tokens.matches(f"Bearer {ask.form.get('token', '').strip()}", secret):
        return desk.render(ask, "login.html", 401, next=inside, wrong=True)
    return _begun(desk, ask, inside)


async def redeem(desk: Desk, ask: Ask) -> Response:
    """Begin a session, if the ticket is good."""
    if not desk.sessions.redeem(ask.query.get("ticket", "")):
        if ask.session:
            return RedirectResponse(ROOT, 303, HEADERS)
        return desk.render(ask, "login.html", 401, next=ROOT, wrong=True)
    return _begun(desk, ask, ROOT)


def _begun(desk: Desk, ask: Ask, inside: str) -> Response:
    answer = RedirectResponse(inside, 303, HEADERS)
    cookie = desk.sessions.begin()
    answer.set_cookie(desk.sessions.cookie, cookie, max_age=int(DAYS * 86400), **_kept(ask))
    return answer


def _kept(ask: Ask) -> dict[str, Any]:
    """How a browser keeps our cookies: for the console alone, and over TLS never without it. A proxy that ends TLS says
    so, and who says so falsely loses only a cookie of their own."""
    schemes = ask.request.url.scheme, ask.request.headers.get("x-forwarded-proto", "").lower()
    return {"path": ROOT, "secure": "https" in schemes, "httponly": True, "samesite": "strict"}


async def leave(desk: Desk, ask: Ask) -> Response:
    """End the session."""
    desk.sessions.end(ask.session)
    answer = RedirectResponse(f"{ROOT}/login", 303, HEADERS)
    answer.delete_cookie(desk.sessions.cookie, **_kept(ask))
    return answer


async def theme(desk: Desk, ask: Ask) -> Response:
    """Remember light or dark in this browser."""
    chosen = ask.form.get("theme", "")
    if chosen not in THEMES:
        raise InvalidArgument(f"a theme is one of {', '.join(THEMES)}")
    answer = RedirectResponse(_inside(ask.form.get("next", "")), 303, HEADERS)
    answer.set_cookie(THEME_COOKIE, chosen, max_age=YEAR, **_kept(ask))
    return answer


def _inside(path: str) -> str:
    """A path of the console; its first page for anything else, so that nobody is led away."""
    inside = path == ROOT or path.startswith(f"{ROOT}/")
    return path if inside and "\\" not in path and "//" not in path else ROOT
