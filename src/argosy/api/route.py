"""A route of the control API: what is served, documented and tested from one table."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
from starlette.routing import BaseRoute

from argosy.alerting.incidents import Incidents
from argosy.control.controller import Controller
from argosy.control.state import State
from argosy.jobs.runner import Jobs
from argosy.spec.settings import Home, Settings
from argosy.store.store import Store
from argosy.telemetry.rates import Meter


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """What the handlers work on. `stop` begins the orderly end of the platform; `ending` is set as the API closes.
    `restarts` counts the platform's own tasks that had to be begun again."""

    home: Home
    settings: Settings
    store: Store
    state: State
    controller: Controller
    meter: Meter
    jobs: Jobs
    incidents: Incidents
    stop: Callable[[], None]
    started: float
    ending: asyncio.Event
    restarts: Mapping[str, int]


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request: path parameters, the decoded body and query, of the types its route says."""

    services: Services
    path: Mapping[str, str]
    body: Any = None
    query: Any = None


Handler = Callable[[Call], Awaitable[Any]]
Pages = Callable[[Services, str], Sequence[BaseRoute]]
"""Routes that the caller of `up` adds, made from the services and the token. They guard themselves."""


def no_pages(services: Services, secret: str) -> Sequence[BaseRoute]:
    """The API alone."""
    return ()


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A method on a path. `answer` is the type of its JSON answer; None: plain text, streamed. `most`: bytes of a body,
    which is decoded on the controller's loop and so has to be small, or of a type that is quickly read."""

    method: str
    path: str
    handler: Handler
    summary: str
    body: Any = None
    query: Any = None
    answer: Any = None
    status: int = 200
    most: int = 256 * 1024
