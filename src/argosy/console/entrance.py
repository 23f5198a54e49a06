"""Signing in and out: by a one-time ticket or by the token; and the choice of light or dark."""

from typing import Any

from starlette.responses import Response

from argosy.api import token as tokens
from argosy.console.pages import ROOT, THEME_COOKIE, THEMES, Console, PageRequest, see
from argosy.console.session import DAYS
from argosy.spec.errors import InvalidArgument

YEAR = 365 * 86400


async def login(console: Console, ask: PageRequest) -> Response:
    """The form that takes the token."""
    if ask.session:
        return see(ROOT)
    return console.render(ask, "login.html", next=_inside(ask.query.get("next", "")), wrong=False)


async def enter(console: Console, ask: PageRequest) -> Response:
    """Begin a session, if the token is right."""
    inside = _inside(ask.form.get("next", ""))
    secret = tokens.ensure(console.services.home)
    if not tokens.matches(f"Bearer {ask.form.get('token', '').strip()}", secret):
        return console.render(ask, "login.html", 401, next=inside, wrong=True)
    return _begun(console, ask, inside)


async def redeem(console: Console, ask: PageRequest) -> Response:
    """Begin a session, if the ticket is good."""
    if console.sessions.redeem(ask.query.get("ticket", "")):
        return _begun(console, ask, ROOT)
    return see(ROOT) if ask.session else console.render(ask, "login.html", 401, next=ROOT, wrong=True)


def _begun(console: Console, ask: PageRequest, inside: str) -> Response:
    answer, cookie = see(inside), console.sessions.begin()
    answer.set_cookie(console.sessions.cookie, cookie, max_age=int(DAYS * 86400), **_attributes(ask))
    return answer


def _attributes(ask: PageRequest) -> dict[str, Any]:
    """Of our cookies: for the console alone, and over TLS never without it. A proxy that ends TLS says so, and who says
    so falsely loses only a cookie of their own."""
    schemes = ask.request.url.scheme, ask.request.headers.get("x-forwarded-proto", "").lower()
    return {"path": ROOT, "secure": "https" in schemes, "httponly": True, "samesite": "strict"}


async def leave(console: Console, ask: PageRequest) -> Response:
    """End the session."""
    console.sessions.end(ask.session)
    answer = see(f"{ROOT}/login")
    answer.delete_cookie(console.sessions.cookie, **_attributes(ask))
    return answer


async def theme(console: Console, ask: PageRequest) -> Response:
    """Remember light or dark in this browser."""
    chosen = ask.form.get("theme", "")
    if chosen not in THEMES:
        raise InvalidArgument(f"a theme is one of {', '.join(THEMES)}")
    answer = see(_inside(ask.form.get("next", "")))
    answer.set_cookie(THEME_COOKIE, chosen, max_age=YEAR, **_attributes(ask))
    return answer


def _inside(path: str) -> str:
    """A path of the console; its first page for anything else, so that nobody is led away."""
    inside = path == ROOT or path.startswith(f"{ROOT}/")
    return path if inside and "\\" not in path and "//" not in path else ROOT
