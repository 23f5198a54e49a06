"""Gateways that run elsewhere and follow the controller: what both sides say, and whose confirmation is awaited. Pure.

A gateway that was heard of within `LEASE` seconds counts: no replica is released before it has confirmed the snapshot
in which that replica takes no more work. One that cannot be heard is waited for until its lease is over. It knows when
that is, since it counts from when it asked, and goes on by what it has. When a controller starts there may be gateways
that followed the one before it, so nothing is released for the length of a lease.
"""

from typing import Annotated

import msgspec

from argosy.activator.queue import ActivatedEndpoint
from argosy.gateway.model import ApiKey, EndpointRoute
from argosy.gateway.traffic import Traffic
from argosy.spec.errors import Conflict

LEASE = 6.0
"""Seconds for which a gateway counts without being heard of."""
HELD = 1.0
"""The most seconds for which an answer is held back until something changes; traffic is reported as often."""

Version = tuple[int, int]
"""Of a snapshot: the term of the controller that made it, and its number in that term."""


class GatewayTraffic(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a gateway has counted of a revision since its Envoy started."""

    endpoint: str
    revision: str
    counted: Traffic


class GatewayReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a gateway says. `run` is drawn anew at each of its starts, `number` counts its reports. It `has` a snapshot
    and has `applied` one, which may still be the one before; `refused` are Envoy's words about the one that it has.
    `envoy` is another whenever the counters in `traffic` begin at zero; `waiting` are requests in its activator, by
    endpoint. The answer may be held for `hold` seconds.
    """

    run: str
    number: int
    has: Version = (0, 0)
    applied: Version = (0, 0)
    refused: str = ""
    url: str = ""
    envoy: str = ""
    traffic: tuple[GatewayTraffic, ...] | None = None
    waiting: dict[str, int] = {}
    hold: Annotated[float, msgspec.Meta(ge=0, le=HELD)] = 0.0


class GatewaySnapshot(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that a gateway is told. `activated` are the endpoints for which requests may wait; `files` are certificates,
    by the folder in which identities look for them, and by name: they have keys in them."""

    term: int
    number: int = 0
    endpoints: tuple[EndpointRoute, ...] = ()
    keys: tuple[ApiKey, ...] = ()
    activated: dict[str, ActivatedEndpoint] = {}
    files: dict[str, dict[str, str]] = {}

    @property
    def version(self) -> Version:
        """Which it is."""
        return self.term, self.number


class Heard(msgspec.Struct, frozen=True):
    """A gateway: its run, when it was last heard of, and the snapshot of this controller's term that it has applied
    (0: none, so that nobody knows what it routes by), or refused."""

    run: str
    at: float
    applied: int = 0
    refused: str = ""


class Leases(msgspec.Struct, frozen=True):
    """All gateways by name, since the controller `began`. `replaced`: runs whose name another gateway bears now."""

    began: float
    gateways: dict[str, Heard] = {}
    replaced: frozenset[str] = frozenset()

    def heard(self, name: str, heard: Heard) -> "Leases":
        """With what was heard now. What a run has applied it does not lose. Raises Conflict for one that was
        replaced."""
        if heard.run in self.replaced:
            raise Conflict(f"another gateway is called '{name}' now: give each a name of its own (--name)")
        before = self.gateways.get(name)
        if before is None or before.run == heard.run:
            applied = max(heard.applied, before.applied if before else 0)
            heard = msgspec.structs.replace(heard, applied=applied)
            return msgspec.structs.replace(self, gateways={**self.gateways, name: heard})
        replaced = self.replaced | {before.run}
        return msgspec.structs.replace(self, gateways={**self.gateways, name: heard}, replaced=replaced)

    def without(self, name: str, run: str) -> "Leases":
        """Without one that has ended, and routes nothing any more."""
        if name not in self.gateways or self.gateways[name].run != run:
            return self
        left = {each: heard for each, heard in self.gateways.items() if each != name}
        return msgspec.structs.replace(self, gateways=left, replaced=self.replaced | {run})

    def alive(self, now: float) -> dict[str, Heard]:
        """Those whose lease is not over."""
        return {name: each for name, each in self.gateways.items() if now - each.at < LEASE}

    def behind(self, number: int, now: float) -> dict[str, Heard]:
        """Those of them that have not confirmed this snapshot."""
        return {name: each for name, each in self.alive(now).items() if each.applied < number}

    def settled(self, number: int, now: float) -> bool:
        """Whether no gateway that counts may route by anything older than this snapshot."""
        return now - self.began >= LEASE and not self.behind(number, now)
