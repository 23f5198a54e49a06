"""What `argosy place` is asked: models with what a replica of them does, demand by area, and supply. Unknown keys are
refused, and so are numbers that are none, or negative.

Money is in US dollars, prices are per hour of a whole machine, times are in seconds, rates in requests per second.
"""

import math
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from argosy.spec.errors import InvalidArgument
from argosy.spec.offer import Market
from argosy.spec.region import check_region
from argosy.spec.strict import Amount, Count, Declaration, Positive, Share, repeated

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Unit = Literal["machine", "gpu"]
Quota = Annotated[int, Meta(ge=0, le=1_000_000)]
MOST = 20_000
"""Demands, supplies and profiles of a file, each."""


class DeclaredProfile(Declaration, frozen=True, kw_only=True):
    """What one replica does on a kind of GPU, of which it takes `gpus` of one machine, or a `slice` of one, which is a
    profile of MIG (`1g.10gb`): requests per second, such that `latency` holds. Both are one number, or a number by
    bucket. `start`: until a new replica serves; `weights`: bytes that are moved to where it starts."""

    gpu: Name
    rates: Positive | dict[str, Positive]
    latency: Amount | dict[str, Amount] = 0.0
    variant: str = ""
    gpus: Count = 1
    slice: str = ""
    start: Amount = 0.0
    weights: Amount = 0.0

    where: ClassVar[str] = "profiles: "

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.slice and self.gpus != 1:
            raise InvalidArgument(f"profiles: slice {self.slice} is of one GPU, gpus cannot be {self.gpus}")


class DeclaredModel(Declaration, frozen=True, kw_only=True):
    """A model. `endpoint` serves it, for `--apply`; without it, the endpoint that has its name."""

    profiles: tuple[DeclaredProfile, ...]
    endpoint: str = ""


class DeclaredDemand(Declaration, frozen=True, kw_only=True):
    """Requests that come from an area. Without a `rate` it is measured: `share` of what the model's endpoint was asked
    in the busiest five minutes of the last day, by the platform's own record. `slo` is what an answer may take, round
    trip included; only `regions` may serve it, and machines of strangers only where it is `untrusted`. `penalty` is
    what a request that is not served counts for. `sent`: bytes of an answer."""

    model: Name
    area: Name
    rate: Amount | None = None
    share: Share = 1.0
    bucket: str = ""
    slo: Positive | None = None
    regions: tuple[str, ...] = ()
    untrusted: bool = False
    penalty: Amount = 0.01
    sent: Amount = 0.0

    where: ClassVar[str] = "demand: "

    @property
    def title(self) -> str:
        """As messages name it."""
        return f"{self.model}{f' ({self.bucket})' if self.bucket else ''} from {self.area}, {self.rate or 0:g}/s"


class DeclaredSupply(Declaration, frozen=True, kw_only=True):
    """Machines of one kind in one place, `quota` of them at most, each with `count` GPUs. `unit` says what is rented:
    whole machines, or single GPUs of them for their share of the price. What has the same `domain` can be lost at
    once; without it, what is of one provider and region."""

    provider: Name
    region: Name
    gpu: Name
    price: Amount
    quota: Quota
    market: Market = "on_demand"
    count: Count = 1
    unit: Unit = "machine"
    domain: str = ""
    available: Share | None = None
    trusted: bool = True

    where: ClassVar[str] = "supply: "

    @property
    def id(self) -> str:
        """`provider/region/GPU`, then the number of GPUs and the market where they are not the usual ones."""
        size = f"x{self.count}" if self.count > 1 else ""
        return f"{self.provider}/{self.region}/{self.gpu}{size}" + ("/spot" if self.market == "spot" else "")


class DeclaredQuota(Declaration, frozen=True, kw_only=True):
    """How many machines of offers may be used; `*` stands for anything. The first that fits an offer counts; an offer
    that none fits is left out."""

    quota: Quota
    provider: str = "*"
    region: str = "*"
    gpu: str = "*"
    market: Market | None = None

    where: ClassVar[str] = "quotas: "


class Running(Declaration, frozen=True, kw_only=True):
    """Replicas that run."""

    model: Name
    supply: Name
    replicas: Quota
    variant: str = ""

    where: ClassVar[str] = "running: "


class Rules(Declaration, frozen=True, kw_only=True):
    """Without any one failure domain, what is left of a model's capacity is at least `loss_floor` of its demand; at
    most `spot_share` of it depends on spot. All rates are taken to be higher by the share `headroom`. Starts count as
    spread over `horizon` hours; a plan that saves less than the share `least_gain` of what runs changes nothing."""

    loss_floor: Share = 0.0
    spot_share: Share = 1.0
    headroom: Amount = 0.0
    horizon: Positive = 24.0
    least_gain: Share = 0.01

    where: ClassVar[str] = "rules: "


class Replan(Declaration, frozen=True, kw_only=True):
    """When a plan that was applied is made again: a region is lost, or drained, for `settle` seconds, or a rate or a
    price has been another one for as long, by more than the share `change`. It is applied only with `apply`, and where
    it costs at most `budget` dollars an hour; else it is proposed."""

    apply: bool = False
    settle: Positive = 60.0
    change: Positive = 0.2
    budget: Amount | None = None

    where: ClassVar[str] = "replan: "


class PlacementFile(Declaration, frozen=True, kw_only=True):
    """`plan.yaml`. Supply is declared, or is what is offered (`offers`: a file of prices in CSV, or `platform`) within
    `quotas`. `rtt`: round trip from area to region. `egress` and `transfer`: per GB, by region, of what is sent to
    clients and of weights that are brought in. `regions`: which region of Argosy stands for one of a provider, for
    `--apply`; without it, the one of its name."""

    models: dict[str, DeclaredModel]
    demand: tuple[DeclaredDemand, ...]
    rtt: dict[str, dict[str, Amount]]
    supply: tuple[DeclaredSupply, ...] = ()
    offers: str = ""
    quotas: tuple[DeclaredQuota, ...] = ()
    rules: Rules = Rules()
    replan: Replan = Replan()
    egress: dict[str, Amount] = msgspec.field(default_factory=dict[str, float])
    transfer: dict[str, Amount] = msgspec.field(default_factory=dict[str, float])
    running: tuple[Running, ...] = ()
    regions: dict[str, str] = msgspec.field(default_factory=dict[str, str])

    where: ClassVar[str] = "plan: "

    def __post_init__(self) -> None:
        super().__post_init__()
        for most in (self.demand, self.supply, self.quotas, self.running):
            if len(most) > MOST:
                raise InvalidArgument(f"plan: more than {MOST} entries in one list")
        for demand in self.demand:
            if demand.model not in self.models:
                raise InvalidArgument(f"demand: there is no model '{demand.model}'; add it to models")
            if demand.area not in self.rtt:
                raise InvalidArgument(f"demand: rtt has no area '{demand.area}'")
        self._check_supply()
        if not all(
            math.isfinite(each) for row in (*self.rtt.values(), self.egress, self.transfer) for each in row.values()
        ):
            raise InvalidArgument("plan: rtt, egress and transfer must be finite numbers")
        for region in self.regions.values():
            check_region(region, "regions:")

    def _check_supply(self) -> None:
        if not self.supply and not self.offers:
            raise InvalidArgument("plan: declare supply, or offers with quotas")
        gpus = {each.gpu for model in self.models.values() for each in model.profiles}
        near = {region for row in self.rtt.values() for region in row}
        for supply in self.supply:
            if supply.gpu not in gpus:
                raise InvalidArgument(
                    f"supply: no profile is for the GPU '{supply.gpu}' of {supply.id}; add one to a model"
                )
            if supply.region not in near:
                raise InvalidArgument(f"supply: rtt has no region '{supply.region}' of {supply.id}; add it to an area")
        if self.offers and not self.quotas:
            raise InvalidArgument("plan: offers needs quotas: how many machines may be used of what is offered")
        if twice := repeated(each.id for each in self.supply):
            raise InvalidArgument(f"supply: '{twice}' is there twice")
