"""`/v1/gateways`: gateways that run elsewhere report here, and are answered what to route.

The token of gateways opens these paths and no others. It is worth what a gateway knows: the hashes of keys, and the
certificate by which replicas know a gateway.
"""

from typing import Annotated

import msgspec

from argosy.api.feedback import Answered, Labels, take
from argosy.api.route import Route, Services
from argosy.control.followers import Followers
from argosy.control.leases import GatewayReport, GatewaySnapshot
from argosy.gateway.model import check_token
from argosy.spec.errors import PermissionDenied


class GatewayStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A gateway that follows: `heard` so many seconds ago, `confirmed` tells whether it routes by the present snapshot,
    and `refused` why not, where Envoy does not take that."""

    name: str
    url: str
    heard: float
    confirmed: bool
    refused: str = ""


class Run(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The run of a gateway that ends."""

    run: Annotated[str, msgspec.Meta(max_length=64)]


class Sender(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The id of the key by which labels came."""

    key: Annotated[str, msgspec.Meta(max_length=128)]


async def report(services: Services, name: str, body: GatewayReport) -> GatewaySnapshot | None:
    """Take what a gateway reports. The answer is the snapshot, if it has another one, and null otherwise; it is held
    until there is one, for `hold` seconds at the most."""
    return await _followers(services).hear(check_token(name, "gateway"), body)


async def leave(services: Services, name: str, query: Run) -> None:
    """A gateway has ended: nobody waits for it any more."""
    await _followers(services).left(name, query.run)


async def gateways(services: Services) -> list[GatewayStatus]:
    """Gateways that follow, by name."""
    if (found := services.followers) is None:
        return []
    return [
        GatewayStatus(
            name=name,
            url=found.urls.get(name, ""),
            heard=round(found.now - each.at, 1),
            confirmed=each.applied == found.snapshot.number,
            refused=each.refused,
        )
        for name, each in sorted(found.leases.gateways.items())
    ]


async def labels(services: Services, endpoint: str, query: Sender, body: Labels) -> Answered:
    """Store labels that came through a gateway, which has checked the key of their sender."""
    return await take(services, endpoint, body, check_token(query.key, "the key's id"))


def _followers(services: Services) -> Followers:
    if services.followers is None:
        raise PermissionDenied("this platform takes no gateways from elsewhere: set gateway.place to remote or both")
    return services.followers


ROUTES = (
    Route("GET", "/v1/gateways", gateways, "Gateways that follow"),
    Route("POST", "/v1/gateways/{name}", report, "A gateway's report", most=16 * 1024 * 1024, gateways=True),
    Route("DELETE", "/v1/gateways/{name}", leave, "A gateway ends", gateways=True),
    Route("POST", "/v1/labels/{endpoint}", labels, "Labels by way of a gateway", most=1024 * 1024, gateways=True),
)
