"""A plan's file, and what is offered, as the planner's problem. Pure."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from argosy.capacity.planner.problem import Demand, Placement, Problem, Profile, Supply
from argosy.spec.errors import InvalidArgument
from argosy.spec.offer import Offer
from argosy.spec.placement import DeclaredSupply, PlacementFile


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
    rules = declared.rules
    return Problem(
        supplies=tuple(_supply(each) for each in supplies.values()),
        demands=tuple(
            Demand(
                model=each.model,
                area=each.area,
                rate=each.rate or 0.0,
                bucket=each.bucket,
                slo=each.slo or float("inf"),
                regions=each.regions,
                untrusted=each.untrusted,
                penalty=each.penalty,
                sent=each.sent,
            )
            for each in declared.demand
        ),
        profiles=tuple(
            Profile(
                model=name,
                gpu=each.gpu,
                rates=_by_bucket(each.rates, buckets[name]),
                latency=_by_bucket(each.latency, buckets[name]),
                variant=each.variant,
                gpus=each.gpus,
                start=each.start,
                weights=each.weights,
            )
            for name, model in declared.models.items()
            for each in model.profiles
        ),
        rtt=declared.rtt,
        egress=declared.egress,
        transfer=declared.transfer,
        loss_floor=rules.loss_floor,
        spot_share=rules.spot_share,
        headroom=rules.headroom,
        horizon=rules.horizon,
        running=running,
    )


def _by_bucket(value: float | dict[str, float], buckets: list[str]) -> dict[str, float]:
    return value if isinstance(value, dict) else dict.fromkeys(buckets, value)


def _supply(each: DeclaredSupply) -> Supply:
    return Supply(
        id=each.id,
        provider=each.provider,
        region=each.region,
        gpu=each.gpu,
        price=each.price,
        quota=each.quota,
        market=each.market,
        count=each.count,
        domain=each.domain,
        available=each.available,
        trusted=each.trusted,
    )


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
