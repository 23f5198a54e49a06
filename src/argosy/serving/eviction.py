"""Who may stay connected: what is too slow is ended, and where a listener is full, whoever has asked for nothing whole.

Pure. A listener accepts always and ends another connection for it: one that refuses newcomers while half requests have
its places serves nobody.
"""

import ipaddress
from collections import Counter
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Protocol, TypeVar

import msgspec


class Phase(IntEnum):
    """What a connection is at, in the order in which they are ended for another."""

    HEAD = 0
    """No whole head of its first request has come, nor, under TLS, a handshake."""
    IDLE = 1
    """Its requests are answered."""
    BODY = 2
    """A head has come, and not the whole of its request."""
    UNREAD = 3
    """It takes no more of its answer."""
    BUSY = 4
    """A whole request is at work: it is ended for nobody."""


class Connected(Protocol):
    """A connection: what it is at, and since when by a clock that all share."""

    @property
    def phase(self) -> Phase: ...
    @property
    def since(self) -> float: ...


C = TypeVar("C", bound=Connected)


def to_evict(connections: Iterable[C]) -> C | None:
    """The connection to end for a new one: which has asked for the least, then the oldest. None: all are busy."""
    found = min(connections, key=lambda each: (each.phase, each.since), default=None)
    return None if found is None or found.phase is Phase.BUSY else found


class ConnectionState(msgspec.Struct, frozen=True):
    """One connection: whose it is, what it is at, and since when (seconds, of any clock)."""

    peer: str
    phase: Phase
    since: float


class ConnectionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Connections in total and of one peer; seconds for a head, for a whole request, without a request, and without a
    byte of an answer taken."""

    total: int = 128
    each: int = 64
    head: float = 10.0
    whole: float = 30.0
    idle: float = 75.0
    unread: float = 30.0

    def seconds(self, phase: Phase) -> float:
        """How long one may be at this."""
        return (self.head, self.idle, self.whole, self.unread, float("inf"))[phase]


class Admission(msgspec.Struct, frozen=True):
    """Whether a newcomer may come in, and which connection, by its index, is ended for it."""

    admitted: bool
    ended: int | None = None


def admit(connections: Sequence[ConnectionState], peer: str, limits: ConnectionLimits) -> Admission:
    """What becomes of a newcomer of `peer`. A peer that has its share gives way itself; where all places are taken,
    the peer that holds the most of them does. Of a peer's connections the one that has asked for the least goes, and
    of those the oldest."""
    taken = Counter(each.peer for each in connections)
    if taken[peer] >= limits.each:
        giving = {peer}
    elif len(connections) >= limits.total:
        may_go = Counter(each.peer for each in connections if each.phase < Phase.BUSY)
        most = max((taken[each] for each in may_go), default=0)
        giving = {each for each in may_go if taken[each] == most}
    else:
        return Admission(True)
    leaving = to_evict(each for each in connections if each.peer in giving)
    return Admission(False) if leaving is None else Admission(True, connections.index(leaving))


def overdue(connections: Iterable[ConnectionState], now: float, limits: ConnectionLimits) -> list[int]:
    """The connections, by their index, that have been at one thing for too long."""
    return [index for index, each in enumerate(connections) if now - each.since > limits.seconds(each.phase)]


def peer_of(host: str) -> str:
    """Whose connection it is, by its address: of IPv6 the network of 64 bits, which is what one machine is given."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address), 64), strict=False))


def shared(limits: ConnectionLimits, files: int) -> ConnectionLimits:
    """The same for a process that may have `files` files open: half of what it does not need itself, at most."""
    total = max(8, min(limits.total, (files - RESERVE) // 2))
    return msgspec.structs.replace(limits, total=total, each=max(4, min(limits.each, total // 2)))


RESERVE = 128
"""Files that a process needs for its own work: databases, sockets of replicas, what it watches."""
