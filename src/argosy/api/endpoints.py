"""`/v1/endpoints`: declare, look, wait, delete."""

import asyncio
import functools
import os

import msgspec

from argosy.api.route import Call, Route, Services
from argosy.control.admission import check_allowed, check_possible, check_version
from argosy.control.keys import Desk, ShownKey
from argosy.control.plan import Plan, plan
from argosy.control.revision import revision_of
from argosy.monitoring.performance import reference
from argosy.spec.endpoint import Endpoint, check_name
from argosy.spec.errors import InvalidArgument
from argosy.spec.revision import Revision
from argosy.spec.status import EndpointStatus
from argosy.store.ledger import Cause
from argosy.targets.base import Capacity

MAX_WAIT = 3600.0


class Wait(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`wait`: seconds to wait until the endpoint is ready, stopped or failed."""

    wait: float = 0.0

    def __post_init__(self) -> None:
        _check_wait(self.wait)


def _check_wait(seconds: float) -> None:
    if not 0 <= seconds <= MAX_WAIT:
        raise InvalidArgument(f"wait must be 0 to {MAX_WAIT:g} seconds, not {seconds:g}")


class Written(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who changes it (the user of this machine, as the client says) and why: both go into the ledger. `generation`: the
    one that the change is made on, 0 for none; another one is a conflict.
    """

    generation: int | None = None
    actor: str = ""
    reason: str = ""

    def __post_init__(self) -> None:
        if len(self.actor) > 200 or len(self.reason) > 4000:
            raise InvalidArgument("actor may have 200 characters, reason 4000")

    @property
    def cause(self) -> Cause:
        """As the ledger has it."""
        return Cause(actor=self.actor or "unknown", reason=self.reason)


class Writing(Written, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A change, and how many seconds to wait until the endpoint is ready, stopped or failed."""

    wait: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_wait(self.wait)


class Deployed(msgspec.Struct, frozen=True, kw_only=True):
    """What a declaration led to, and what it `changed`. `key` is a new API key, shown this once, where no key could
    reach the endpoint; `keys` are those that were declared and made, shown this once, too."""

    endpoint: EndpointStatus
    changed: Plan
    url: str
    key: str | None = None
    key_id: str | None = None
    keys: tuple[ShownKey, ...] = ()


class Deleted(msgspec.Struct, frozen=True, kw_only=True):
    """The endpoint takes no traffic any more; its replicas drain and stop."""

    deleted: str


async def put(call: Call) -> Deployed:
    """Declare an endpoint. The model reference is resolved now; the same declaration again tries again what failed."""
    services, query = call.services, call.query
    endpoint = await asyncio.to_thread(_taken, services, call.body)
    desk = Desk(services.state.database, endpoint)
    there = await services.controller.target.capacity()
    found, revision = await asyncio.to_thread(_planned, services, endpoint, there, desk)
    await services.controller.retry(revision.id)
    write = functools.partial(services.state.declare, cause=query.cause, expected=query.generation, keys=desk)
    declared = await asyncio.to_thread(write, endpoint, revision)
    found = msgspec.structs.replace(found, keys=desk.did)
    if declared.generation == found.generation:
        found = msgspec.structs.replace(found, action="settings" if desk.did else "nothing", changes=())
    status = await services.controller.wait(endpoint.name, query.wait)
    own = next((each for each in desk.shown if not each.declared), None)
    return Deployed(
        endpoint=status,
        changed=found,
        url=status.url,
        key=own and own.key,
        key_id=own and own.id,
        keys=tuple(each for each in desk.shown if each.declared),
    )


async def planned(call: Call) -> Plan:
    """What declaring this would change. Nothing is written."""
    endpoint = await asyncio.to_thread(_taken, call.services, call.body)
    desk = Desk(call.services.state.database, endpoint)
    there = await call.services.controller.target.capacity()
    found, _ = await asyncio.to_thread(_planned, call.services, endpoint, there, desk)
    return found


def _taken(services: Services, endpoint: Endpoint) -> Endpoint:
    """The declaration, its reference named by content."""
    check_allowed(endpoint, services.settings, os.environ)
    return reference.pinned(endpoint)


def _planned(services: Services, endpoint: Endpoint, there: Capacity, desk: Desk) -> tuple[Plan, Revision]:
    others = [each.endpoint for each in services.state.endpoints()]
    check_possible(endpoint, others, services.settings, there)
    version = services.store.registry.resolve(endpoint.model)
    check_version(endpoint, version, services.home, services.store)
    declared = services.state.endpoint(endpoint.name)
    return plan(declared, endpoint, version, desk.plan()), revision_of(endpoint, version)


async def get(call: Call) -> EndpointStatus:
    """One endpoint, at once or when it has come to rest."""
    return await call.services.controller.wait(check_name(call.path["name"]), call.query.wait)


async def every(call: Call) -> list[EndpointStatus]:
    """Every endpoint, by name."""
    await call.services.controller.settled()
    return [status for _, status in sorted(call.services.controller.view.endpoints.items())]


async def delete(call: Call) -> Deleted:
    """Take an endpoint out of the gateway, then drain and stop its replicas. Keys that it did not declare stay."""
    name = check_name(call.path["name"])
    query = call.query
    write = functools.partial(call.services.state.delete, cause=query.cause, expected=query.generation)
    await asyncio.to_thread(write, name)
    await call.services.controller.settled()
    return Deleted(deleted=name)


_ONE = "/v1/endpoints/{name}"
ROUTES = (
    Route(method="GET", path="/v1/endpoints", handler=every, summary="Endpoints", answer=list[EndpointStatus]),
    Route(method="GET", path=_ONE, handler=get, summary="One endpoint", query=Wait, answer=EndpointStatus),
    Route(
        method="PUT",
        path=_ONE,
        handler=put,
        summary="Declare an endpoint",
        body=Endpoint,
        query=Writing,
        answer=Deployed,
    ),
    Route(method="POST", path=f"{_ONE}/plan", handler=planned, summary="What would change", body=Endpoint, answer=Plan),
    Route(method="DELETE", path=_ONE, handler=delete, summary="Delete an endpoint", query=Written, answer=Deleted),
)
