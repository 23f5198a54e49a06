"""What a user declares of automatic scaling: bounds, how late requests may be, how sure and how patient to be."""

import math

import msgspec

from argosy.spec.errors import InvalidArgument
from argosy.spec.limits import Limits

MOST = 1000
"""The most replicas an endpoint may ask for."""
MOST_WAITING = Limits().requests
"""The gateway's own bound on what it has at one address."""


class Scaling(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the number of replicas follows the load. Times are seconds; `late`, `target` and `confidence` are shares.

    `min` and `max` bound the replicas; `min: 0` lets an endpoint that got no request for `idle` seconds go to zero.
    Replicas are counted so that at most `late` of the requests wait longer than `wait`, for a load that is exceeded
    one cold start from now with probability 1 - `confidence`, and so that no more than `target` of all slots are busy
    on average. `window` is the time over which load is averaged, `history` the time from which growth is learned,
    `patience` how long fewer replicas must be enough before any is stopped.
    """

    min: int = 1
    max: int = 10
    target: float = 0.9
    wait: float = 2.0
    late: float = 0.01
    confidence: float = 0.75
    window: float = 120.0
    history: float = 1800.0
    patience: float = 120.0
    idle: float = 300.0

    def __post_init__(self) -> None:
        if not 0 <= self.min <= self.max <= MOST or self.max < 1:
            raise InvalidArgument(
                f"scaling: needs 0 <= min <= max <= {MOST} and max of at least 1, not min {self.min}, max {self.max}"
            )
        for field in ("target", "late", "confidence"):
            if not 0 < getattr(self, field) < 1:
                raise InvalidArgument(f"scaling.{field} must be a share above 0 and below 1, as in 0.9")
        for field in ("wait", "window", "history", "patience", "idle"):
            value = getattr(self, field)
            if not math.isfinite(value) or value < 0:
                raise InvalidArgument(f"scaling.{field} must be 0 or more seconds")
        if self.window <= 0 or self.history < self.window:
            raise InvalidArgument("scaling.window must be above 0 seconds and scaling.history at least as long")


class WaitingRoom(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where requests wait while an endpoint comes back from zero: at most `size` of them, each at most `deadline` s.

    Both HTTP requests and gRPC calls wait. Past that they are answered 503, or UNAVAILABLE.
    """

    size: int = 1000
    deadline: float = 60.0

    def __post_init__(self) -> None:
        if not 0 <= self.size <= MOST_WAITING:
            raise InvalidArgument(f"waiting room: size must be 0 to {MOST_WAITING}, not {self.size}")
        if not math.isfinite(self.deadline) or self.deadline < 0:
            raise InvalidArgument("waiting room: deadline must be 0 or more seconds")
