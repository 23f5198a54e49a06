"""What each region is to have. Pure.

The first region of an endpoint gets a change at once, the others once it serves there with all replicas, as the rollout
of that region judged. The platform that holds the plan is first where it is one of them; else the first that the
endpoint names and that is not draining.
"""

import base64
import hashlib
import hmac
from collections.abc import Collection, Iterable, Mapping

import msgspec

from argosy.regions.wire import PlacedEndpoint, RegionEndpoint
from argosy.spec.endpoint import Endpoint
from argosy.spec.region import Peer
from argosy.spec.scaling import Scaling
from argosy.store.keys import TEST, KeyRecord
from argosy.store.regions import Placements, Replicas

Reports = Mapping[str, Mapping[str, RegionEndpoint]]
"""What regions said of their endpoints, by region and name."""


def first(regions: Iterable[str], own: str, draining: Collection[str]) -> str:
    """Where a change begins."""
    left = [each for each in regions if each not in draining] or list(regions)
    return own if own in left else left[0]


def replicas(endpoint: Endpoint, region: str, placements: Placements, draining: Collection[str]) -> Replicas:
    """Replicas in a region, with its part of those in regions that drain."""
    if region not in endpoint.regions:
        return 0
    mine = placements.get((endpoint.name, region), endpoint.replicas)
    left = [each for each in endpoint.regions if each not in draining]
    if region in draining or not left:
        return mine
    for each in endpoint.regions:
        if each in draining:
            mine = _plus(mine, placements.get((endpoint.name, each), endpoint.replicas), len(left))
    return mine


def _plus(one: Replicas, more: Replicas, parts: int) -> Replicas:
    """With a part of `more`, rounded up."""
    least, most = (more, more) if isinstance(more, int) else (more.min, more.max)
    least, most = -(-least // parts), -(-most // parts)
    if isinstance(one, Scaling):
        return msgspec.structs.replace(one, min=one.min + least, max=one.max + most)
    return one + most


def drained(
    endpoint: Endpoint, region: str, placements: Placements, draining: Collection[str], reports: Reports
) -> bool:
    """Whether a region that drains may give up its replicas: the others serve their part of them, or it has given them
    up already. Where there are no others it goes on."""
    found = reports.get(region, {}).get(endpoint.name)
    if found is not None and found.placed is not None and found.placed.endpoint.replicas == 0:
        return True
    left = [each for each in endpoint.regions if each not in draining]
    return bool(left) and all(
        _took(reports.get(each, {}).get(endpoint.name), replicas(endpoint, each, placements, draining)) for each in left
    )


def _took(found: RegionEndpoint | None, wanted: Replicas) -> bool:
    """Whether a region serves with so many replicas."""
    least = wanted.min if isinstance(wanted, Scaling) else wanted
    placed = found.placed if found is not None else None
    return (
        found is not None
        and placed is not None
        and (found.done and placed.endpoint.replicas == wanted and found.ready >= least)
    )


def placed(
    wanted: PlacedEndpoint, region: str, own: str, placements: Placements, draining: Collection[str], reports: Reports
) -> PlacedEndpoint | None:
    """The endpoint as a region is to have it now; None: not at all, or not yet."""
    endpoint = wanted.endpoint
    if region not in endpoint.regions:
        return None
    chosen: PlacedEndpoint | None = wanted
    found = reports.get(region, {}).get(endpoint.name)
    before = found.placed if found is not None else None
    begins = first(endpoint.regions, own, draining)
    if region != begins and (before is None or not same(before, wanted)):
        lead = reports.get(begins, {}).get(endpoint.name)
        if lead is None or not lead.done or lead.placed is None or not same(lead.placed, wanted):
            chosen = before
    if chosen is None:
        return None
    many = replicas(endpoint, region, placements, draining)
    if region in draining and drained(endpoint, region, placements, draining, reports):
        many = 0
    return msgspec.structs.replace(chosen, endpoint=msgspec.structs.replace(chosen.endpoint, replicas=many))


def same(one: PlacedEndpoint, two: PlacedEndpoint) -> bool:
    """Whether they differ in nothing but replicas and regions."""
    other = msgspec.structs.replace(two.endpoint, replicas=one.endpoint.replicas, regions=one.endpoint.regions)
    return one.packages == two.packages and one.endpoint == other


def keys(records: Iterable[KeyRecord], names: Collection[str]) -> tuple[KeyRecord, ...]:
    """The good keys that cover endpoints of a region, with a scope for these alone."""
    found: list[KeyRecord] = []
    for record in records:
        scopes = [name for name in sorted(names) if record.covers(name)]
        scopes += [name + TEST for name in sorted(names) if record.tests(name)]
        if record.revoked is None and scopes:
            scopes = [each for each in scopes if each + TEST not in scopes]
            found.append(msgspec.structs.replace(record, scopes=tuple(scopes)))
    return tuple(found)


def peers(gateways: Mapping[str, Peer], tokens: Mapping[str, str], region: str) -> tuple[Peer, ...]:
    """Those of a region: all others, each with the secret that only the two of them know. `tokens`: what the holder
    alone knows of each region."""
    return tuple(
        msgspec.structs.replace(each, token=_secret(tokens, region, name))
        for name, each in sorted(gateways.items())
        if name != region
    )


def _secret(tokens: Mapping[str, str], one: str, two: str) -> str:
    names = sorted((one, two))
    key = "\n".join(tokens.get(each, "") for each in names).encode()
    found = hmac.new(key, "\n".join(names).encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(found).decode().rstrip("=")
