"""A plan of what runs where, as the planner's answer is told and kept. Money is in US dollars."""

from typing import Annotated, Literal

import msgspec

from argosy.spec.placement import Unit

Replicas = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
PlanState = Literal["proposed", "current", "past"]
Numbers = dict[str, dict[str, Replicas]]
"""Replicas by region of Argosy and endpoint."""


class PlannedReplicas(msgspec.Struct, frozen=True, kw_only=True):
    """Replicas of a model on one supply, in a `region` of Argosy; what they cost an hour, and the `share` of the
    model's requests that they serve."""

    model: str
    variant: str
    supply: str
    region: str
    replicas: Replicas
    hourly: float
    share: float


class Alternative(msgspec.Struct, frozen=True, kw_only=True):
    """A choice (model, variant, supply) of a plan, and what would be without it. `dearer`: what all would cost more in
    a day, served by `instead` (choices and replicas more than now); None where the time was up. `unserved`: requests
    per second that would not be served. `needed`: without it the rules of loss or of spot cannot be kept."""

    place: tuple[str, str, str]
    replicas: int
    dearer: float | None = None
    unserved: float = 0.0
    needed: bool = False
    instead: tuple[tuple[tuple[str, str, str], int], ...] = ()


class Unserved(msgspec.Struct, frozen=True, kw_only=True):
    """Requests per second of a demand that are not served."""

    demand: str
    model: str
    rate: float


class RentedSupply(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan rents of a supply: `count` machines or GPUs (`unit`), which cost `hourly`; replicas stand for all but
    `unused` of it. `cuts`: how many GPUs are cut into which slices."""

    supply: str
    unit: Unit
    count: int
    hourly: float
    unused: float
    cuts: tuple[tuple[tuple[str, ...], int], ...] = ()


class MadePlan(msgspec.Struct, kw_only=True):
    """A plan: `cost` is per hour, of the parts `costs`; no plan costs less than `bound`. `kept`: what ran goes on,
    since another plan would save too little. It was made with the `rates` of the demands, in their order, and the
    `prices` of the supplies; `regions` are those of Argosy that it could use."""

    cost: float
    bound: float
    gap: float
    seconds: float
    kept: bool
    costs: dict[str, float]
    placements: tuple[PlannedReplicas, ...]
    unserved: tuple[Unserved, ...]
    reasons: tuple[Alternative, ...]
    rates: tuple[float, ...]
    prices: dict[str, float]
    regions: tuple[str, ...]
    rented: tuple[RentedSupply, ...] = ()


class KeptPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A plan that is kept. The `current` one is what regions were given (`numbers`) since it was `applied`; one that is
    `proposed` waits, for what `note` says. `why` it was made; `without` the regions that it leaves out, because they
    are not heard or drain, in which the replicas `left` go on. Times are seconds since 1970."""

    number: int
    made: float
    state: PlanState
    why: str
    plan: MadePlan
    numbers: Numbers
    actor: str = ""
    without: tuple[str, ...] = ()
    left: tuple[PlannedReplicas, ...] = ()
    note: str = ""
    applied: float | None = None
