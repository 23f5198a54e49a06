"""What the holder of a plan and a region say to each other, by the region's control API.

An order is all that a region is to have, each time anew: it may come twice, late, or after another one was lost. The
answer says what the region has. A region goes on with its last order for as long as it hears of no other.
"""

import msgspec

from argosy.regions.shares import LEASE, Spend
from argosy.spec.endpoint import Endpoint
from argosy.spec.region import Peer
from argosy.spec.status import EndpointPhase, EndpointStatus
from argosy.store.keys import KeyRecord


class PlacedEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint as a region is to declare it. `packages` are those that it takes, digests by `name:number`; the first
    one is its model."""

    endpoint: Endpoint
    packages: dict[str, str]

    @property
    def ref(self) -> str:
        """`name:number` of the model."""
        return next(iter(self.packages))


class RegionOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that `region` is to have. `holder` is the platform that says so, in its `term`. The limits of `keys` are the
    region's shares, for `lease` seconds."""

    holder: str
    term: int
    region: str
    endpoints: tuple[PlacedEndpoint, ...] = ()
    keys: tuple[KeyRecord, ...] = ()
    peers: tuple[Peer, ...] = ()
    lease: float = LEASE


class RegionEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an endpoint in a region. `settled`: what is declared there last has all of its traffic; `problem`
    is why the order was not taken. `rate` are the requests a second that its gateway gets, `hourly` what its replicas
    cost an hour now, in dollars."""

    placed: PlacedEndpoint | None = None
    state: EndpointPhase = "starting"
    reason: str = ""
    version: str = ""
    serving: str = ""
    replicas: int = 0
    ready: int = 0
    settled: bool = False
    problem: str = ""
    rate: float = 0.0
    hourly: float = 0.0

    @property
    def done(self) -> bool:
        """Whether it serves what is declared, with all of its replicas."""
        return self.settled and self.state == "ready" and self.ready >= self.replicas and not self.problem


class RegionReport(msgspec.Struct, frozen=True, kw_only=True):
    """A region: its own name, its holder (empty: none), where clients reach its gateway, its endpoints that are placed,
    the packages of the order that it has not (digests by `name:number`), and what keys have `spent` of each limit.
    `now` is its clock."""

    region: str
    version: str
    now: float
    holder: str = ""
    gateway: str = ""
    endpoints: dict[str, RegionEndpoint] = {}
    missing: dict[str, str] = {}
    spent: dict[str, dict[str, Spend]] = {}


class SentPackage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A package whose blobs have been sent: its manifest, byte for byte, and those of what refers to it. `trusted`: the
    holder's store vouches for it."""

    digest: str
    manifests: tuple[bytes, ...]
    trusted: bool = False


def reported(status: EndpointStatus, placed: PlacedEndpoint | None, generation: int) -> RegionEndpoint:
    """An endpoint of a platform as its region reports it; `generation` is what is declared now."""
    return RegionEndpoint(
        placed=placed,
        state=status.state,
        reason=status.reason,
        version=status.version,
        serving=status.serving,
        replicas=status.replicas,
        ready=status.ready,
        settled=status.revision == status.serving_revision and status.generation == generation,
    )
