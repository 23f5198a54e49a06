"""The gateways of regions as peers of each other: where they are, and in which order they are asked.

The gateway asks peers by rank, then by distance, of those within the latency goal of an endpoint.
"""

import ipaddress
import socket
from collections.abc import Collection
from urllib.parse import urlsplit

import msgspec

from argosy.regions.wire import RegionReport
from argosy.spec.region import Peer


class Ranks:
    """What a replica costs an hour by region, as was heard last: peers are asked in this order."""

    def __init__(self) -> None:
        self._ranks: dict[str, float] = {}

    def of(self, name: str, report: RegionReport, control: str) -> Peer | None:
        """The gateway of a region whose control API is at `control`; None where its address is not known. The rank is
        to a tenth of a cent; where no replica runs, it is what one has cost last."""
        found = report.endpoints.values()
        ready = sum(each.ready for each in found if each.hourly > 0)
        if ready:
            self._ranks[name] = round(sum(each.hourly for each in found if each.ready) / ready, 3)
        names = sorted(one for one, each in report.endpoints.items() if each.placed is not None)
        peer = peer_at(name, report.gateway, control, names)
        return msgspec.structs.replace(peer, rank=self._ranks.get(name, 0.0)) if peer else None


def peer_at(region: str, gateway: str, control: str, endpoints: Collection[str]) -> Peer | None:
    """The gateway at this URL. One that says a loopback or no address is where its control API is."""
    url = urlsplit(gateway)
    host = url.hostname or ""
    if _local(host) and not _local(there := urlsplit(control).hostname or ""):
        host = there
    try:
        address = str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
    except OSError:
        return None
    port = url.port or (443 if url.scheme == "https" else 80)
    return Peer(
        region=region,
        host=address,
        port=port,
        tls=url.scheme == "https",
        authority=url.hostname or "",
        endpoints=(*endpoints,),
    )


def _local(host: str) -> bool:
    """Whether others cannot reach it by that name."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host in ("", "localhost")
    return address.is_loopback or address.is_unspecified
