"""The status of endpoints and replicas: one model for the control API, the commands, the console and the metrics."""

from typing import Literal

import msgspec

from argosy.spec.endpoint import Endpoint
from argosy.spec.language import AtZero
from argosy.spec.revision import Replica

EndpointPhase = Literal["starting", "ready", "updating", "failed", "stopped"]


class SloStatus(msgspec.Struct, frozen=True, kw_only=True):
    """An objective of an endpoint. `budget` is the share of bad requests that is left of those allowed in `days`, below
    0 where more came; `severity` says whether it burns too fast: empty, ticket or page."""

    name: str
    objective: float
    latency: float
    days: float
    budget: float
    severity: str
    reason: str


class ColdStart(msgspec.Struct, frozen=True, kw_only=True):
    """Of an endpoint that may go to zero: what there is of a replica now (`ready`, `starting`, or what the next one
    starts from: `asleep`, `prefetched`, `absent`); by what it started from, the seconds that the longest of the last
    starts took, and their price, where `hourly` is declared."""

    state: str
    seconds: dict[AtZero, float] = {}
    price: dict[AtZero, float] = {}


class EndpointStatus(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint: what is declared, what serves, why not.

    `starting`: not enough replicas of the serving revision are ready, and `reason` says what the oldest that starts is
    at; `updating`: another revision is on its way;
    `scaling`: why there are so many replicas, where they follow the load; `cold_start`: how they come back from zero;
    `slos`: how its objectives stand;
    `failed`: the declared revision does not become ready, for `reason`, and `serving` says which version still does.
    """

    name: str
    state: EndpointPhase
    reason: str = ""
    model: str
    version: str
    digest: str
    revision: str
    serving: str = ""
    serving_revision: str = ""
    replicas: int
    ready: int
    scaling: str = ""
    cold_start: ColdStart | None = None
    slos: tuple[SloStatus, ...] = ()
    url: str = ""
    endpoint: Endpoint
    generation: int
    created: str
    updated: str


class ReplicaStatus(Replica, frozen=True, kw_only=True):
    """A replica with the version it serves, the resident memory of its processes, in bytes, and the pid of its process;
    both are 0 where its target does not say."""

    version: str
    memory: int = 0
    pid: int = 0


class View(msgspec.Struct, frozen=True, kw_only=True):
    """What the last pass observed. `number` is that of the pass; `replaced` counts replicas that had to be replaced, by
    endpoint and revision; `error` is why it did not do all of its work."""

    number: int = 0
    endpoints: dict[str, EndpointStatus] = {}
    replicas: tuple[ReplicaStatus, ...] = ()
    replaced: dict[tuple[str, str], int] = {}
    error: str = ""
