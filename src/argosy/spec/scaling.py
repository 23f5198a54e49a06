"""What a user declares of automatic scaling: bounds, how late requests may be, how sure and how patient to be."""

from typing import Annotated, ClassVar

from msgspec import Meta

from argosy.spec.errors import InvalidArgument
from argosy.spec.limits import Limits
from argosy.spec.strict import Amount, Declaration, InnerShare, Positive

MOST = 1000
"""The most replicas an endpoint may ask for."""
MOST_WAITING = Limits().requests
"""The gateway's own bound on what it has at one address."""


class Scaling(Declaration, frozen=True, kw_only=True):
    """How the number of replicas follows the load. Times are seconds; `late`, `target` and `confidence` are shares.

    `min` and `max` bound the replicas; `min: 0` lets an endpoint that got no request for `idle` seconds go to zero.
    Replicas are counted so that at most `late` of the requests wait longer than `wait`, for a load that is exceeded
    one cold start from now with probability 1 - `confidence`, and so that no more than `target` of all slots are busy
    on average. `window` is the time over which load is averaged, `history` the time from which growth is learned,
    `patience` how long fewer replicas must be enough before any is stopped. `hourly` is what a replica costs an hour,
    by which starts from zero are priced.
    """

    min: int = 1
    max: int = 10
    target: InnerShare = 0.9
    wait: Amount = 2.0
    late: InnerShare = 0.01
    confidence: InnerShare = 0.75
    window: Positive = 120.0
    history: Positive = 1800.0
    patience: Amount = 120.0
    idle: Amount = 300.0
    hourly: Amount = 0.0

    where: ClassVar[str] = "scaling."

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.min <= self.max <= MOST or self.max < 1:
            raise InvalidArgument(
                f"scaling: needs 0 <= min <= max <= {MOST} and max of at least 1, not min {self.min}, max {self.max}"
            )
        if self.history < self.window:
            raise InvalidArgument("scaling.history must be at least as long as scaling.window")


class ActivatorQueue(Declaration, frozen=True, kw_only=True):
    """Where requests wait while an endpoint comes back from zero: at most `size` of them, each at most `deadline` s.

    Both HTTP requests and gRPC calls wait. Beyond that they are answered 503, or UNAVAILABLE.
    """

    size: Annotated[int, Meta(ge=0, le=MOST_WAITING)] = 1000
    deadline: Amount = 60.0

    where: ClassVar[str] = "waiting."
