"""`/v1/endpoints`: declare, look, wait, delete."""

import asyncio

import msgspec

from argosy.control.honoured import check_honoured
from argosy.control.revision import revision_of
from argosy.control.route import Call, Route, Services
from argosy.control.status import EndpointStatus
from argosy.spec.endpoint import Endpoint, check_name
from argosy.spec.errors import InvalidArgument
from argosy.store.key import EVERYTHING

MAX_WAIT = 3600.0


class Wait(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`wait`: seconds to wait until the endpoint is ready, stopped or failed."""

    wait: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.wait <= MAX_WAIT:
            raise InvalidArgument(f"wait must be 0 to {MAX_WAIT:g} seconds, not {self.wait:g}")


class Deployed(msgspec.Struct, frozen=True, kw_only=True):
    """What a declaration led to. `key` is a new API key, shown this once, where no key could reach the endpoint."""

    endpoint: EndpointStatus
    url: str
    key: str | None = None
    key_id: str | None = None


class Deleted(msgspec.Struct, frozen=True, kw_only=True):
    """The endpoint takes no traffic any more; its replicas drain and stop."""

    deleted: str


async def put(call: Call) -> Deployed:
    """Declare an endpoint. The model reference is resolved now; the same declaration again tries again what failed."""
    services, endpoint = call.services, call.body
    assert isinstance(endpoint, Endpoint)
    check_honoured(endpoint)
    version = await asyncio.to_thread(services.store.registry.resolve, endpoint.model)
    revision = revision_of(endpoint, version)
    await services.controller.retry(revision.id)
    await asyncio.to_thread(services.state.declare, endpoint, revision)
    key_id, key = await asyncio.to_thread(_key, services, endpoint)
    status = await services.controller.wait(endpoint.name, call.query.wait)
    return Deployed(endpoint=status, url=status.url, key=key, key_id=key_id)


def _key(services: Services, endpoint: Endpoint) -> tuple[str | None, str | None]:
    """A key for an endpoint that needs one and that no good key covers."""
    wanted = {endpoint.name, EVERYTHING}
    if endpoint.public or any(not key.revoked and wanted & set(key.scopes) for key in services.store.keys.list()):
        return None, None
    record, text = services.store.keys.create(endpoint.name, (endpoint.name,))
    return record.id, text


async def get(call: Call) -> EndpointStatus:
    """One endpoint, at once or when it has come to rest."""
    return await call.services.controller.wait(check_name(call.path["name"]), call.query.wait)


async def every(call: Call) -> list[EndpointStatus]:
    """Every endpoint, by name."""
    await call.services.controller.settled()
    return [status for _, status in sorted(call.services.controller.view.endpoints.items())]


async def delete(call: Call) -> Deleted:
    """Take an endpoint out of the gateway, then drain and stop its replicas. Keys stay."""
    name = check_name(call.path["name"])
    await asyncio.to_thread(call.services.state.delete, name)
    await call.services.controller.settled()
    return Deleted(deleted=name)


_ONE = "/v1/endpoints/{name}"
ROUTES = (
    Route(method="GET", path="/v1/endpoints", handler=every, summary="Endpoints", answer=list[EndpointStatus]),
    Route(method="GET", path=_ONE, handler=get, summary="One endpoint", query=Wait, answer=EndpointStatus),
    Route(
        method="PUT", path=_ONE, handler=put, summary="Declare an endpoint", body=Endpoint, query=Wait, answer=Deployed
    ),
    Route(method="DELETE", path=_ONE, handler=delete, summary="Delete an endpoint", answer=Deleted),
)
