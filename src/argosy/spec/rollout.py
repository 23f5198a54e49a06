"""What a user declares of a rollout: how a new revision comes to take the traffic of the one before it."""

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from argosy.spec.errors import InvalidArgument
from argosy.spec.strict import Amount, Count, Declaration, Positive, Share

Strategy = Literal["recreate", "rolling", "blue-green", "canary"]


class Step(Declaration, frozen=True, kw_only=True):
    """A share of the traffic (percent) for the candidate, and how long it keeps it at least: both must be reached."""

    weight: Annotated[int, Meta(ge=1, le=99)]
    seconds: Amount = 0.0
    requests: Annotated[int, Meta(ge=0)] = 0

    where: ClassVar[str] = "rollout.steps: "


class Shadow(Declaration, frozen=True, kw_only=True):
    """Before any user sees the candidate: a share (0 to 1) of the requests is mirrored to it and the answers compared.

    It ends well once `seconds` and `requests` (compared pairs) are reached with at least `agreement` (a share) of equal
    answers; numbers are equal within `tolerance` (relative to the largest in their row). Of language models the first
    `tokens` of greedy answers are compared, for which both revisions are asked anew. With a shadow, `recreate` starts
    the candidate beside the revision it replaces.
    """

    share: Annotated[float, Meta(ge=1e-6, le=1)] = 1.0
    seconds: Amount = 0.0
    requests: Count = 100
    agreement: Share = 0.99
    tolerance: Amount = 1e-3
    tokens: Count = 16

    where: ClassVar[str] = "rollout.shadow."


class StickyBy(Declaration, frozen=True, kw_only=True):
    """Callers keep their revision: distinguished by a header or cookie of that `name`, or by their key."""

    by: Literal["header", "key", "cookie"]
    name: str = ""

    def __post_init__(self) -> None:
        if (self.by == "key") == bool(self.name):
            raise InvalidArgument("rollout.sticky: name the header or cookie; a key needs no name")


class WarmCaches(Declaration, frozen=True, kw_only=True):
    """A language model's candidate gets a larger share, and the old replicas go, once it finds at least this `share` of
    what the stable revision finds of its prompts in KV caches, by tokens; or once a step has taken `seconds`."""

    share: Share = 0.8
    seconds: Positive = 300.0

    where: ClassVar[str] = "rollout.warm_caches."


CANARY = (Step(weight=5, requests=200), Step(weight=25, requests=200), Step(weight=50, requests=200))


class Rollout(Declaration, frozen=True, kw_only=True):
    """The strategy and what belongs to it. `keep_warm`: seconds the old revision stays ready after a switch.

    `steps` are the canary's; `shadow` may come before any strategy; `testers` lets keys with the scope `NAME:test` pick
    a revision by the header `x-argosy-revision`. With `warm_caches` it goes no further with a language model whose
    caches are cold.
    """

    strategy: Strategy = "rolling"
    steps: tuple[Step, ...] = ()
    keep_warm: Amount = 0.0
    shadow: Shadow | None = None
    sticky: StickyBy | None = None
    testers: bool = False
    warm_caches: WarmCaches | None = None

    where: ClassVar[str] = "rollout."

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps and self.strategy != "canary":
            raise InvalidArgument(f"rollout.steps belong to the strategy 'canary', not to '{self.strategy}'")
        if self.warm_caches and self.strategy not in ("rolling", "canary"):
            raise InvalidArgument(
                f"rollout.warm_caches: with the strategy '{self.strategy}' a candidate has no share of the traffic "
                "that could fill its caches: take 'rolling' or 'canary'"
            )
        weights = [step.weight for step in self.steps]
        if weights != sorted(set(weights)):
            raise InvalidArgument(f"rollout.steps: weights must grow from step to step, not {weights}")

    @property
    def path(self) -> tuple[Step, ...]:
        """The steps of a canary; none for the others."""
        return (self.steps or CANARY) if self.strategy == "canary" else ()
