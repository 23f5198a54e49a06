"""What every page works on, and how a page becomes an answer."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

import argosy
from argosy.api.route import Services
from argosy.console import chart, words
from argosy.console.session import Sessions
from argosy.spec.errors import ArgosyError
from argosy.store import alerts, costs, findings, jobs, usage
from argosy.store.plans import Plans
from argosy.store.regions import RegionStore

ROOT = "/console"
HERE = Path(__file__).parent
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""Nothing from elsewhere, nothing inline, no frame around it, nothing stored by the browser."""

THEMES = ("auto", "light", "dark")
THEME_COOKIE = "argosy-theme"
FRESH = 5.0
"""Seconds for which is cached what parts there are."""


class PageRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request: its path parameters, and for a POST the fields of its form. `session` is the cookie's value, `has`
    the parts of the data that there are: pages leave out what there is not."""

    request: Request
    path: Mapping[str, str]
    session: str = ""
    form: Mapping[str, str] = {}
    has: frozenset[str] = frozenset()

    @property
    def query(self) -> Mapping[str, str]:
        """The query's parameters."""
        return self.request.query_params

    @property
    def partial(self) -> bool:
        """Whether only the live part of the page is asked for."""
        return self.request.headers.get("hx-request") == "true"

    @property
    def theme(self) -> str:
        """What the user chose: auto, light or dark."""
        found = self.request.cookies.get(THEME_COOKIE, "")
        return found if found in THEMES else "auto"


class Console:
    """Services, sessions and templates of one console."""

    def __init__(self, services: Services, sessions: Sessions) -> None:
        self.services, self.sessions, self.database = services, sessions, services.store.database
        self._templates = environment()
        self._parts: frozenset[str] = frozenset()
        self._read = float("-inf")

    def parts(self) -> frozenset[str]:
        """Traffic, and of findings, alerts, jobs, tokens, cost, regions, plans and fleets what something has written;
        none while the database is away."""
        if time.monotonic() - self._read > FRESH:
            try:
                there: dict[str, bool] = {
                    "traffic": True,
                    "findings": findings.any_of(self.database),
                    "alerts": bool(alerts.read(self.database, most=1)),
                    "jobs": jobs.any_of(self.database),
                    "usage": bool(usage.totals(self.database)),
                    "cost": costs.any_of(self.database),
                    "regions": bool(RegionStore(self.database).every()),
                    "plans": Plans(self.database).any(),
                    "fleets": bool(self.services.store.fleets.every()),
                }
            except ArgosyError:
                return frozenset()
            self._parts, self._read = frozenset(part for part, found in there.items() if found), time.monotonic()
        return self._parts

    def render(self, ask: PageRequest, template: str, status: int = 200, **values: Any) -> Response:
        """A page, or with the request header that says so only the live part of it."""
        common = {
            "root": ROOT,
            "version": argosy.__version__,
            "now": time.time(),
            "theme": ask.theme,
            "path": ask.request.url.path,
            "form_token": self.sessions.form_token(ask.session) if ask.session else "",
            "signed_in": bool(ask.session),
            "partial": ask.partial,
            "has": ask.has,
        }
        text = self._templates.get_template(template).render(common | values)
        return Response(text, status, HEADERS, "text/html; charset=utf-8")


def see(path: str) -> Response:
    """Go on at another page, by GET."""
    return RedirectResponse(path, 303, HEADERS)


def environment() -> Environment:
    """The templates. Everything that is put into them is escaped, unless `chart` drew it."""
    found = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in (
        "number",
        "figure",
        "rate",
        "percent",
        "milliseconds",
        "money",
        "size",
        "age",
        "since",
        "clock",
        "plain",
        "limits",
    ):
        found.filters[name] = getattr(words, name)
    cast("dict[str, Any]", found.globals)["chart"] = chart
    return found
