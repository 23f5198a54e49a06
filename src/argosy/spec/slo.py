"""What a user declares of how good a service has to be."""

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from argosy.spec.strict import Amount, Declaration, require

Severity = Literal["page", "ticket"]

HOUR, DAY, YEAR = 3600.0, 86400.0, 365 * 86400.0
RULES: tuple[tuple[float, float, Severity], ...] = (
    (0.02, HOUR, "page"),
    (0.05, 6 * HOUR, "page"),
    (0.10, DAY, "ticket"),
    (0.10, 3 * DAY, "ticket"),
)
"""A share of the budget, burnt within so many seconds."""

ENOUGH = 10.0
"""Bad requests that the short window must be expected to have at the burn of the rule; below it rates say nothing."""


class Slo(Declaration, frozen=True, kw_only=True):
    """A service level objective of an endpoint.

    `objective` is the share of requests that must be good over `days` days. Good is what is answered without a fault
    of the server (5xx) and, with `latency` above 0, within so many seconds. `false_pages` is how many false pages a
    year are put up with where traffic is so low that rates say nothing.
    """

    name: str = "availability"
    objective: Annotated[float, Meta(gt=0.5, lt=1)] = 0.999
    latency: Amount = 0.0
    days: Annotated[float, Meta(ge=1, le=90)] = 30.0
    false_pages: Annotated[float, Meta(gt=0, le=100)] = 1.0

    where: ClassVar[str] = "slo: "

    def __post_init__(self) -> None:
        super().__post_init__()
        good = 1 <= len(self.name) <= 63 and self.name.isprintable()
        require(self.where, {f"the name '{self.name[:63]}' must have 1 to 63 printable characters": good})

    @property
    def budget(self) -> float:
        """The share of requests that may be bad."""
        return 1 - self.objective
