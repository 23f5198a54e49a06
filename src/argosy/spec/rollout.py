"""What a user declares of a rollout: how a new revision comes to take the traffic of the one before it."""

from typing import Literal

import msgspec

from argosy.spec.errors import InvalidArgument

Strategy = Literal["recreate", "rolling", "blue-green", "canary"]


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A share of the traffic (percent) for the candidate, and how long it keeps it at least: both must be reached."""

    weight: int
    seconds: float = 0.0
    requests: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.weight <= 99:
            raise InvalidArgument(f"rollout.steps: weight must be 1 to 99 percent, not {self.weight}")
        if self.seconds < 0 or self.requests < 0:
            raise InvalidArgument("rollout.steps: seconds and requests must not be negative")


class Shadow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Before any user sees the candidate: a share (0 to 1) of the requests is mirrored to it and the answers compared.

    It ends well once `seconds` and `requests` (compared pairs) are reached with at least `agreement` (a share) of equal
    answers; numbers are equal within `tolerance` (relative to the largest in their row). With a shadow, `recreate`
    starts the candidate beside the revision it replaces.
    """

    share: float = 1.0
    seconds: float = 0.0
    requests: int = 100
    agreement: float = 0.99
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        if not 1e-6 <= self.share <= 1 or not 0 <= self.agreement <= 1:
            raise InvalidArgument("rollout.shadow: share must be 0.000001 to 1, agreement 0 to 1")
        if self.seconds < 0 or self.requests < 1 or self.tolerance < 0:
            raise InvalidArgument("rollout.shadow: seconds and tolerance not negative, requests at least 1")


class StickyBy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Callers keep their revision: told apart by a header or cookie of that `name`, or by their key."""

    by: Literal["header", "key", "cookie"]
    name: str = ""

    def __post_init__(self) -> None:
        if (self.by == "key") == bool(self.name):
            raise InvalidArgument("rollout.sticky: name the header or cookie; a key needs no name")


CANARY = (Step(weight=5, requests=200), Step(weight=25, requests=200), Step(weight=50, requests=200))


class Rollout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The strategy and what belongs to it. `keep_warm`: seconds the old revision stays ready after a switch.

    `steps` are the canary's; `shadow` may come before any strategy; `testers` lets keys with the scope `NAME:test` pick
    a revision by the header `x-argosy-revision`.
    """

    strategy: Strategy = "rolling"
    steps: tuple[Step, ...] = ()
    keep_warm: float = 0.0
    shadow: Shadow | None = None
    sticky: StickyBy | None = None
    testers: bool = False

    def __post_init__(self) -> None:
        if self.steps and self.strategy != "canary":
            raise InvalidArgument(f"rollout.steps belong to the strategy 'canary', not to '{self.strategy}'")
        weights = [step.weight for step in self.steps]
        if weights != sorted(set(weights)):
            raise InvalidArgument(f"rollout.steps: weights must grow from step to step, not {weights}")
        if self.keep_warm < 0:
            raise InvalidArgument("rollout.keep_warm must not be negative")

    @property
    def path(self) -> tuple[Step, ...]:
        """The steps of a canary; none for the others."""
        return (self.steps or CANARY) if self.strategy == "canary" else ()
