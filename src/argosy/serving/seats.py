"""Who makes room when a listener has as many connections as it may. Pure; shared by every listener of the platform.

What costs an attacker nothing goes first: connections that have sent no whole head, the oldest first, so that a caller
who sends a whole request is answered however many others hold a connection open. A request under way is never ended.
"""

from collections.abc import Iterable
from enum import IntEnum
from typing import Protocol, TypeVar


class Standing(IntEnum):
    """What a connection is doing, in the order in which connections are ended."""

    UNNAMED = 0
    """It has sent nothing yet, or a part of a head."""
    IDLE = 1
    """It was answered, and asks nothing."""
    MOVING = 2
    """A body is on its way in, or an answer waits to be read."""
    BUSY = 3
    """A whole request is being answered."""


class Seat(Protocol):
    """A connection. `since`: the time, by any clock that all share, at which its standing began."""

    @property
    def standing(self) -> Standing: ...
    @property
    def since(self) -> float: ...


S = TypeVar("S", bound=Seat)


def gives_way(seats: Iterable[S]) -> S | None:
    """The connection to end for a new one: the lowest standing, then the oldest. None: all are busy, refuse the new."""
    found = min(seats, key=lambda seat: (seat.standing, seat.since), default=None)
    return None if found is None or found.standing is Standing.BUSY else found
