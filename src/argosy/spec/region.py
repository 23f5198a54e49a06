"""Other regions, as a region knows them."""

import ipaddress
import re
from collections.abc import Iterable

import msgspec

from argosy.spec.errors import InvalidArgument

_REGION = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{32,128}")


def check_region(name: str, what: str) -> str:
    """Names are lower-case letters, digits and '-', 1 to 63 of them. Raises InvalidArgument."""
    if not _REGION.fullmatch(name):
        raise InvalidArgument(f"{what} '{name[:80]}' is not valid: use lower-case letters, digits and '-'")
    return name


class Peer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The gateway of another region. `rtt` is in seconds; `rank` orders peers, the least first: what a request costs
    there, as the one who holds the plan says. `endpoints` are those that it serves, by name; a request of an endpoint
    goes nowhere else. `host` is an IP address; with `tls`, its certificate must be for `authority`. `http1`: it is no
    gateway of a region, but what stands for a provider outside, and is asked after these.

    `token` is a secret of these two regions alone: each shows it to the other, and by it each knows that a request
    comes from a peer, which goes no further. Without one, nothing is sent and nothing is accepted.
    """

    region: str
    host: str
    port: int
    tls: bool = False
    http1: bool = False
    authority: str = ""
    rtt: float = 0.0
    rank: float = 0.0
    endpoints: tuple[str, ...] = ()
    token: str = ""

    def __post_init__(self) -> None:
        check_region(self.region, "region")
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            raise InvalidArgument(
                f"region '{self.region}': the gateway's host must be an IP address, not '{self.host[:80]}'"
            ) from None
        if not 1 <= self.port <= 65535:
            raise InvalidArgument(f"region '{self.region}': the gateway's port must be 1 to 65535, not {self.port}")
        if not (0 <= self.rtt < float("inf") and abs(self.rank) < float("inf")):
            raise InvalidArgument(f"region '{self.region}': rtt must be 0 or more, and rank a number")
        if self.token and not _TOKEN.fullmatch(self.token):
            raise InvalidArgument(f"region '{self.region}': the token must have 32 to 128 letters, digits, '_' and '-'")
        if self.tls and not self.authority:
            raise InvalidArgument(f"region '{self.region}': tls needs the authority that its certificate is for")


def within(peers: Iterable[Peer], endpoint: str, allowed: Iterable[str], rtt: float | None) -> tuple[Peer, ...]:
    """Those that may answer for an endpoint here, in the order in which they are asked: they serve it, lie in an
    `allowed` region (none named: any), and are no further away than `rtt` seconds. 10 ms make no difference: distances
    are measured, and what changed all the time would change the order as well."""
    regions = set(allowed)
    found = [
        each
        for each in peers
        if each.token
        and endpoint in each.endpoints
        and (not regions or each.region in regions)
        and (rtt is None or each.rtt <= rtt)
    ]
    return tuple(sorted(found, key=lambda each: (each.rank, round(each.rtt, 2), each.region)))
