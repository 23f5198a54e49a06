"""A route of the control API: what is served, documented and tested from one table."""

import asyncio
import typing
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any

import msgspec
from starlette.routing import BaseRoute

from argosy.alerting.incidents import Incidents
from argosy.control.controller import Controller
from argosy.control.followers import Followers
from argosy.control.state import State
from argosy.fleets.controller import Deployments
from argosy.jobs.runner import Jobs
from argosy.monitoring.cost import CostLedger
from argosy.monitoring.devices.intake import DeviceIntake
from argosy.regions.holder import Holder
from argosy.regions.member import Member
from argosy.regions.replan import Replanner
from argosy.spec.settings import Home, Settings
from argosy.store.ledger import Cause
from argosy.store.store import Store
from argosy.supply.groups import Groups
from argosy.supply.launcher import Launcher
from argosy.targets.several import Targets
from argosy.telemetry.rates import Meter


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """What the handlers work on. `stop` begins the orderly end of the platform; `ending` is set as the API closes.
    `restarts` counts the platform's own tasks that had to be begun again; `followers` is there where gateways may
    follow. `regions` are those of which this platform holds the plan, `member` is what it is itself as a region."""

    home: Home
    settings: Settings
    store: Store
    state: State
    controller: Controller
    targets: Targets
    meter: Meter
    jobs: Jobs
    deployments: Deployments
    incidents: Incidents
    costs: CostLedger
    intake: DeviceIntake
    launcher: Launcher
    groups: Groups
    followers: Followers | None = None
    regions: Holder
    plans: Replanner
    member: Member
    stop: Callable[[], None]
    started: float
    ending: asyncio.Event
    restarts: Mapping[str, int]


Pages = Callable[[Services, str], Sequence[BaseRoute]]
"""Routes that the caller of `up` adds, made from the services and the token. They guard themselves."""


def no_pages(services: Services, secret: str) -> Sequence[BaseRoute]:
    """The API alone."""
    return ()


class Why(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who changes something (the user of this machine, as the client says) and why: both go into the ledger."""

    actor: Annotated[str, msgspec.Meta(max_length=200)] = ""
    reason: Annotated[str, msgspec.Meta(max_length=4000)] = ""

    @property
    def cause(self) -> Cause:
        """As the ledger has it."""
        return Cause(actor=self.actor or "unknown", reason=self.reason)


class Route:
    """A method on a path. The handler takes the services, each `{name}` of the path as text, and a `body` and a `query`
    if it has parameters of that name: their types say what is accepted, that of its result what is answered. One that
    gives an iterator answers plain text, streamed.

    `most`: bytes of a body, which is decoded on the controller's loop and so has to be small, or of a type that is
    quickly read. `gateways`: the token of gateways opens it, too.
    """

    def __init__(
        self,
        method: str,
        path: str,
        handler: Callable[..., Awaitable[Any]],
        summary: str,
        *,
        status: int = 200,
        most: int = 256 * 1024,
        gateways: bool = False,
    ) -> None:
        self.method, self.path, self.handler, self.summary = method, path, handler, summary
        self.status, self.most, self.gateways = status, most, gateways
        types = typing.get_type_hints(handler, include_extras=True)
        self.body: Any = types.get("body")
        self.query: Any = types.get("query")
        self.streams = typing.get_origin(types["return"]) is AsyncIterator
        self.answer: Any = None if self.streams else types["return"]
