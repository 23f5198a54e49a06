"""`/v1/endpoints`: declare, read, wait, delete."""

import asyncio
import functools
import os
from typing import Annotated

import msgspec

from argosy.api.route import Route, Services, Why
from argosy.control.admission import check_allowed, check_language, check_possible, check_version
from argosy.control.keys import KeyReconciler, ShownKey
from argosy.control.plan import Plan, plan
from argosy.control.revision import revision_of
from argosy.monitoring.performance import reference
from argosy.spec.endpoint import Endpoint, check_name
from argosy.spec.errors import Conflict
from argosy.spec.revision import Revision
from argosy.spec.status import EndpointStatus
from argosy.targets.base import Capacity

OBJECTS = "kubernetes/"
"""What precedes the namespace in the name of who declares for objects of Kubernetes."""

Seconds = Annotated[float, msgspec.Meta(ge=0, le=3600)]


class Wait(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`wait`: seconds to wait until the endpoint is ready, stopped or failed."""

    wait: Seconds = 0.0


class Written(Why, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A change. `generation`: the one that it is made on, 0 for none; another one is a conflict."""

    generation: int | None = None


class Writing(Written, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A change, and how many seconds to wait until the endpoint is ready, stopped or failed."""

    wait: Seconds = 0.0


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


async def put(services: Services, name: str, body: Endpoint, query: Writing) -> Deployed:
    """Declare an endpoint. The model reference is resolved now; the same declaration again tries again what failed."""
    reconciler, found = await declare(services, body, query)
    status = await services.controller.wait(name, query.wait)
    own = next((each for each in reconciler.shown if not each.declared), None)
    return Deployed(
        endpoint=status,
        changed=found,
        url=status.url,
        key=own and own.key,
        key_id=own and own.id,
        keys=tuple(each for each in reconciler.shown if each.declared),
    )


async def declare(
    services: Services, endpoint: Endpoint, query: Written, *, version: str = "", keys: bool = True, again: bool = True
) -> tuple[KeyReconciler, Plan]:
    """Admit a declaration and write it: the one way for the API and the console. `version` names the version where it
    is not what the declaration's reference resolves to now; without `keys` no API key is made, changed or revoked,
    and unless `again` a revision that went back is not tried anew."""
    endpoint = await asyncio.to_thread(_taken, services, endpoint)
    await asyncio.to_thread(_check_source, services, endpoint.name, query)
    reconciler = KeyReconciler(services.state.database, endpoint)
    there = await services.targets.at(endpoint.target).capacity()
    found, revision = await asyncio.to_thread(_planned, services, endpoint, there, reconciler, version)
    if again:
        await services.controller.retry(revision.id)
    write = functools.partial(services.state.declare, cause=query.cause, expected=query.generation)
    declared = await asyncio.to_thread(write, endpoint, revision, keys=reconciler if keys else None)
    found = msgspec.structs.replace(found, keys=reconciler.did)
    if declared.generation == found.generation:
        found = msgspec.structs.replace(found, action="settings" if reconciler.did else "nothing", changes=())
    return reconciler, found


async def planned(services: Services, name: str, body: Endpoint) -> Plan:
    """What declaring this would change. Nothing is written."""
    endpoint = await asyncio.to_thread(_taken, services, body)
    reconciler = KeyReconciler(services.state.database, endpoint)
    there = await services.targets.at(endpoint.target).capacity()
    found, _ = await asyncio.to_thread(_planned, services, endpoint, there, reconciler)
    return found


def _taken(services: Services, endpoint: Endpoint) -> Endpoint:
    """The declaration, its reference named by content, its target by name."""
    check_allowed(endpoint, services.settings, os.environ)
    if endpoint.name not in services.member.held:
        services.regions.check(endpoint)
    default = services.settings.replicas.target
    if not endpoint.target and default != "local":
        endpoint = msgspec.structs.replace(endpoint, target=default)
    return reference.pinned(endpoint)


def _check_source(services: Services, name: str, query: Written) -> None:
    """Raises Conflict where an object of Kubernetes or the holder of a plan declares the endpoint, and this change does
    not come from it."""
    member = services.member
    if name in member.held and query.cause.actor != member.actor:
        raise Conflict(
            f"endpoint '{name}' is placed here by the platform that holds the plan ({member.order.holder}): change it "
            "there, or run  argosy regions leave"
        )
    creator = services.state.creator(name) if services.settings.kubernetes.image else ""
    if creator.startswith(OBJECTS) and query.cause.actor != creator:
        raise Conflict(
            f"endpoint '{name}' is declared by an object of Kubernetes, in namespace {creator.removeprefix(OBJECTS)}: "
            f"change or delete that, as in kubectl edit endpoints.argosy.dev {name}"
        )


def _planned(
    services: Services, endpoint: Endpoint, there: Capacity, reconciler: KeyReconciler, ref: str = ""
) -> tuple[Plan, Revision]:
    others = [each.endpoint for each in services.state.endpoints()]
    check_possible(endpoint, others, services.settings, there)
    version = services.store.registry.resolve(ref or endpoint.model)
    check_version(endpoint, version, services.home, services.store, services.settings.signatures)
    check_language(endpoint, version, services.store, services.settings, there)
    declared = services.state.endpoint(endpoint.name)
    return plan(declared, endpoint, version, reconciler.plan()), revision_of(endpoint, version)


async def get(services: Services, name: str, query: Wait) -> EndpointStatus:
    """One endpoint, at once or when it has come to rest."""
    return await services.controller.wait(check_name(name), query.wait)


async def every(services: Services) -> list[EndpointStatus]:
    """Every endpoint, by name."""
    await services.controller.settled()
    return [status for _, status in sorted(services.controller.seen().endpoints.items())]


async def delete(services: Services, name: str, query: Written) -> Deleted:
    """Take an endpoint out of the gateway, then drain and stop its replicas. Keys that it did not declare stay."""
    await asyncio.to_thread(_check_source, services, name, query)
    write = functools.partial(services.state.delete, cause=query.cause, expected=query.generation)
    await asyncio.to_thread(write, check_name(name))
    await services.controller.settled()
    return Deleted(deleted=name)


_ONE = "/v1/endpoints/{name}"
ROUTES = (
    Route("GET", "/v1/endpoints", every, "Endpoints"),
    Route("GET", _ONE, get, "One endpoint"),
    Route("PUT", _ONE, put, "Declare an endpoint"),
    Route("POST", f"{_ONE}/plan", planned, "What would change"),
    Route("DELETE", _ONE, delete, "Delete an endpoint"),
)
