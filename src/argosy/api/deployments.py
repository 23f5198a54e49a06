"""`/v1/fleets/{fleet}/deployments`: begin, list, read, pause, resume and abort deployments."""

import asyncio
import time
from typing import Annotated, cast, get_args

import msgspec

from argosy.api.route import Route, Services, Why
from argosy.edge.delta import compression
from argosy.fleets import update
from argosy.fleets.status import DeploymentStatus
from argosy.fleets.waves import Order
from argosy.spec.errors import InvalidArgument, NotFound
from argosy.spec.fleet import Deployment
from argosy.store import fleets
from argosy.store.ledger import Cause


class NewDeployment(Deployment, frozen=True, kw_only=True):
    """A deployment, by whom and why."""

    actor: Annotated[str, msgspec.Meta(max_length=200)] = ""
    reason: Annotated[str, msgspec.Meta(max_length=4000)] = ""

    @property
    def declared(self) -> Deployment:
        """The deployment alone."""
        return Deployment(**{name: getattr(self, name) for name in Deployment.__struct_fields__})


async def begin(services: Services, fleet: str, body: NewDeployment) -> DeploymentStatus:
    """Begin a deployment. It is refused where no device could run it; the waves do the rest."""
    if body.fleet != fleet:
        raise InvalidArgument(f"the body is for fleet '{body.fleet[:63]}', the path says '{fleet[:63]}'")
    cause = Cause(actor=body.actor or "unknown", reason=body.reason)
    made = await asyncio.to_thread(_made, services, body.declared, cause)
    await services.deployments.deploy(made, cause)
    return await services.deployments.status(fleet, made.number)


def _made(services: Services, declared: Deployment, cause: Cause) -> fleets.Deployment:
    compression()
    store, now = services.store, time.time()
    of = store.fleets.get(declared.fleet)
    version = store.registry.resolve(declared.model)
    signatures = services.settings.signatures
    draft = update.update(store, signatures, of, declared, version, of.last + 1)
    matching = [
        each
        for each in services.deployments.readings.census(declared.fleet)
        if declared.match.items() <= each.labels.items()
    ]
    update.check_some_fit(draft, [each.facts for each in matching])
    found = msgspec.structs.replace(draft, index=store.fleets.next_number(declared.fleet))
    return fleets.Deployment(
        fleet=declared.fleet,
        number=found.index,
        ref=version.ref,
        package=version.digest,
        envelope=update.sealed(store, of, found),
        declaration=msgspec.to_builtins(declared),
        created=now,
        changed=now,
        actor=cause.actor,
    )


async def every(services: Services, fleet: str) -> list[DeploymentStatus]:
    """The last deployments of a fleet, the newest first. Raises NotFound."""
    return await services.deployments.statuses(fleet)


async def one(services: Services, fleet: str, number: str) -> DeploymentStatus:
    """One deployment. Raises NotFound."""
    return await services.deployments.status(fleet, _number(number))


async def order(services: Services, fleet: str, number: str, order: str, body: Why) -> DeploymentStatus:
    """Pause, resume or abort. Raises Conflict where it is too late."""
    if order not in get_args(Order):
        raise NotFound(f"a deployment takes the orders {', '.join(get_args(Order))}, not '{order[:40]}'")
    await services.deployments.order(fleet, _number(number), cast("Order", order), body.cause)
    return await services.deployments.status(fleet, _number(number))


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise InvalidArgument(f"the path: '{text[:40]}' is no number of a deployment")
    return int(text)


_OF = "/v1/fleets/{fleet}/deployments"
ROUTES = (
    Route("GET", _OF, every, "The deployments of a fleet"),
    Route("POST", _OF, begin, "Begin a deployment", status=201),
    Route("GET", _OF + "/{number}", one, "A deployment"),
    Route("POST", _OF + "/{number}/{order}", order, "pause, resume or abort"),
)
