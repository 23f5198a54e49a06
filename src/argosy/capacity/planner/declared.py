"""A plan's file, and what is offered, as the planner's problem. Pure."""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from msgspec.structs import asdict

from argosy.capacity.planner.problem import Demand, Placement, Problem, Profile, Supply
from argosy.spec.errors import InvalidArgument
from argosy.spec.offer import Offer
from argosy.spec.placement import DeclaredDemand, DeclaredProfile, DeclaredSupply, PlacementFile


def problem(declared: PlacementFile, offers: Iterable[Offer] = ()) -> Problem:
    """What the planner is asked. Raises InvalidArgument."""
    supplies = {each.id: each for each in (*declared.supply, *_offered(declared, offers))}
    running: dict[Placement, int] = {}
    for each in declared.running:
        if each.supply not in supplies:
            raise InvalidArgument(f"running: there is no supply '{each.supply[:80]}'; there are: {_some(supplies)}")
        running[each.model, each.variant, each.supply] = each.replicas
    buckets = {
        name: sorted({each.bucket for each in declared.demand if each.model == name}) for name in declared.models
    }
    rules = asdict(declared.rules)
    del rules["least_gain"]
    return Problem(
        supplies=tuple(Supply(id=each.id, **asdict(each)) for each in supplies.values()),
        demands=tuple(_demand(each) for each in declared.demand),
        profiles=tuple(
            Profile(model=name, **(asdict(each) | _by_bucket(each, buckets[name])))
            for name, model in declared.models.items()
            for each in model.profiles
        ),
        rtt=declared.rtt,
        egress=declared.egress,
        transfer=declared.transfer,
        running=running,
        **rules,
    )


def _demand(each: DeclaredDemand) -> Demand:
    values: dict[str, Any] = asdict(each) | {"rate": each.rate or 0.0, "slo": each.slo or float("inf")}
    del values["share"]
    return Demand(**values)


def _by_bucket(each: DeclaredProfile, buckets: list[str]) -> dict[str, Any]:
    values = {"rates": each.rates, "latency": each.latency}
    return {name: value if isinstance(value, dict) else dict.fromkeys(buckets, value) for name, value in values.items()}


def _offered(declared: PlacementFile, offers: Iterable[Offer]) -> Iterable[DeclaredSupply]:
    """Of each kind of machine in a region the cheapest, of GPUs that a profile is for."""
    wanted = {each.gpu for model in declared.models.values() for each in model.profiles}
    best: dict[str, DeclaredSupply] = {}
    for offer in offers:
        quota = next(
            (
                each.quota
                for each in declared.quotas
                if fnmatchcase(offer.provider, each.provider)
                and fnmatchcase(offer.region, each.region)
                and fnmatchcase(offer.gpu, each.gpu)
                and each.market in (None, offer.market)
            ),
            0,
        )
        if offer.gpu not in wanted or not quota:
            continue
        made = DeclaredSupply(
            provider=offer.provider,
            region=offer.region,
            gpu=offer.gpu,
            price=offer.price,
            quota=quota,
            market=offer.market,
            count=offer.count,
            available=offer.available,
            trusted=offer.trusted,
        )
        if made.id not in best or made.price < best[made.id].price:
            best[made.id] = made
    return best.values()


def _some(names: Iterable[str]) -> str:
    found = sorted(names)
    return ", ".join(found[:5]) + (", …" if len(found) > 5 else "")
