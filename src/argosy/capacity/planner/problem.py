"""What the planner is asked, and its answer.

Money is in US dollars, prices are per hour of a whole machine, times are in seconds, rates in requests per second.
"""

from collections.abc import Mapping

import msgspec

from argosy.capacity.slices import share, size
from argosy.spec.offer import Market
from argosy.spec.placement import Unit
from argosy.spec.strict import require

Placement = tuple[str, str, str]
"""Model, variant, id of a supply."""


class Supply(msgspec.Struct, frozen=True, kw_only=True):
    """Machines of one kind in one place: `quota` of them at most, each with `count` GPUs. What is rented is a whole
    machine, paid also for GPUs of it that are not used, or with the `unit` `gpu` single GPUs of machines.

    What has the same `domain` can be lost at once; empty: its provider and region. `available` is the share of the
    quota that can be had; None: all of it. `trusted` is false for machines of strangers.
    """

    id: str
    provider: str
    region: str
    gpu: str
    price: float
    quota: int
    market: Market = "on_demand"
    count: int = 1
    unit: Unit = "machine"
    domain: str = ""
    available: float | None = None
    trusted: bool = True

    @property
    def rented(self) -> int:
        """GPUs that are rented at a time."""
        return self.count if self.unit == "machine" else 1

    @property
    def gpus(self) -> int:
        """How many can be had."""
        return int(self.quota * (1.0 if self.available is None else self.available) + 1e-9) * self.count

    @property
    def fails(self) -> str:
        """The failure domain."""
        return self.domain or f"{self.provider}/{self.region}"


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """Requests of one size for a model, that come from one area.

    `slo` is what an answer may take, round trip included. Only `regions` may serve it (none named: all), and machines
    of strangers only where it is `untrusted`. `penalty` is what a request that is not served counts for; `sent` are
    the bytes of an answer.
    """

    model: str
    area: str
    rate: float
    bucket: str = ""
    slo: float = float("inf")
    regions: tuple[str, ...] = ()
    untrusted: bool = False
    penalty: float = 0.01
    sent: float = 0.0


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """What one replica of a variant of a model does on a kind of GPU, of which it takes `gpus` of one machine, or a
    `slice` of one: a profile of MIG.

    `rates`: requests per second by bucket, if it does nothing else, such that `latency` (seconds by bucket; none given:
    0) holds; a bucket that is not named cannot be served. `start`: seconds until a new replica serves.
    """

    model: str
    gpu: str
    rates: Mapping[str, float]
    latency: Mapping[str, float] = msgspec.field(default_factory=dict[str, float])
    variant: str = ""
    gpus: int = 1
    slice: str = ""
    start: float = 0.0
    weights: float = 0.0

    def takes(self, supply: Supply) -> int:
        """GPUs that a replica takes of a supply, 1 for a slice of one. Of a machine that is rented whole a half, a
        quarter or an eighth of its GPUs, or one, so that replicas of all sizes fit beside each other."""
        taken = self.gpus if supply.unit == "gpu" or self.gpus == 1 else supply.count
        while taken % 2 == 0 and taken // 2 >= self.gpus:
            taken //= 2
        return taken

    def part(self, supply: Supply) -> float:
        """The part of the price of a machine that a replica stands for."""
        return (share(self.gpu, self.slice) if self.slice else self.takes(supply)) / supply.count


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """`rtt`: seconds from area to region; where none is given an area cannot be served from there. `egress`: per GB
    sent out of a region to clients; `transfer`: per GB of weights brought into it.

    Without any one failure domain, what is left of a model's capacity is at least `loss_floor` of its demand, and
    without the spot market at least 1 - `spot_share` of it: of the model as a whole, and of each of its sets of allowed
    regions. What starts beyond `running` pays for the time until it serves and for its weights, spread over `horizon`
    hours. `headroom`: the share by which all rates are taken to be higher.
    """

    supplies: tuple[Supply, ...]
    demands: tuple[Demand, ...]
    profiles: tuple[Profile, ...]
    rtt: Mapping[str, Mapping[str, float]]
    egress: Mapping[str, float] = msgspec.field(default_factory=dict[str, float])
    transfer: Mapping[str, float] = msgspec.field(default_factory=dict[str, float])
    loss_floor: float = 0.0
    spot_share: float = 1.0
    headroom: float = 0.0
    horizon: float = 24.0
    running: Mapping[Placement, int] = msgspec.field(default_factory=dict[Placement, int])

    def __post_init__(self) -> None:
        profiles = [(each.model, each.variant, each.gpu) for each in self.profiles]
        require(
            "the planner: ",
            {
                "two supplies have one id": len({each.id for each in self.supplies}) == len(self.supplies),
                "two profiles are of one variant on one kind of GPU": len(set(profiles)) == len(profiles),
                "a price must be finite, and at least 0": all(0 <= each.price < 1e9 for each in self.supplies),
                "a quota must be 0 or more machines of 1 or more GPUs": all(
                    each.quota >= 0 and each.count >= 1 for each in self.supplies
                ),
                "available must be from 0 to 1": all(0 <= (each.available or 0) <= 1 for each in self.supplies),
                "a demand's rate, penalty and sent must be finite, and at least 0": all(
                    0 <= number < 1e12 for each in self.demands for number in (each.rate, each.penalty, each.sent)
                ),
                "a demand's slo must be above 0": all(each.slo > 0 for each in self.demands),
                "a profile's rates must be finite and above 0": all(
                    0 < rate < 1e12 for each in self.profiles for rate in each.rates.values()
                ),
                "a profile takes 1 or more GPUs, or a slice of one": all(
                    each.gpus == 1 if each.slice else each.gpus >= 1 for each in self.profiles
                ),
                "loss_floor and spot_share must be from 0 to 1": 0 <= self.loss_floor <= 1
                and 0 <= self.spot_share <= 1,
                "headroom must be 0 or more, horizon above 0": 0 <= self.headroom < 1e3 and 0 < self.horizon < 1e9,
            },
        )
        for each in self.profiles:
            if each.slice:
                size(each.gpu, each.slice)


class Rented(msgspec.Struct, frozen=True, kw_only=True):
    """What is rented of a supply: `count` of its units (machines, or GPUs), which cost `hourly`; replicas stand for all
    of it but `unused`. `cuts`: how many of its GPUs are cut into which slices."""

    count: int
    hourly: float
    unused: float
    cuts: tuple[tuple[tuple[str, ...], int], ...] = ()


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """Per hour: of machines, of what starts, of what is sent, and what counts for requests that are not served
    (`unserved`) and for capacity that a loss would leave short (`reserve`)."""

    machines: float = 0.0
    starts: float = 0.0
    network: float = 0.0
    unserved: float = 0.0
    reserve: float = 0.0

    @property
    def total(self) -> float:
        return self.machines + self.starts + self.network + self.unserved + self.reserve


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to run, and who is served where.

    `flows`: requests per second by index of the demand, variant and supply; `unserved`: by index of the demand.
    `rented`: by supply. `bound`: no plan costs less than this. `prices`: by supply, what one GPU more of it would save
    in an hour, where it is used up.
    """

    replicas: Mapping[Placement, int]
    flows: Mapping[tuple[int, str, str], float]
    unserved: Mapping[int, float]
    costs: Costs
    bound: float
    prices: Mapping[str, float]
    rented: Mapping[str, Rented]
    seconds: float

    @property
    def cost(self) -> float:
        return self.costs.total

    @property
    def gap(self) -> float:
        """How much more than the bound it costs at most, as a share of its cost."""
        return max(0.0, self.cost - self.bound) / self.cost if self.cost > 0 else 0.0
