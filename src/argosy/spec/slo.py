"""What a user declares of how good a service has to be."""

import math
from typing import Literal

import msgspec

from argosy.spec.errors import InvalidArgument

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


class Slo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A service level objective of an endpoint.

    `objective` is the share of requests that must be good over `days` days. Good is what is answered without a fault
    of the server (5xx) and, with `latency` above 0, within so many seconds. `false_pages` is how many false pages a
    year are put up with where traffic is so low that rates say nothing.
    """

    name: str = "availability"
    objective: float = 0.999
    latency: float = 0.0
    days: float = 30.0
    false_pages: float = 1.0

    def __post_init__(self) -> None:
        checks = {
            "name must have 1 to 63 printable characters": 1 <= len(self.name) <= 63 and self.name.isprintable(),
            "objective must be above 0.5 and below 1, as in 0.999": 0.5 < self.objective < 1,
            "latency must be 0 (any) or seconds": 0 <= self.latency < math.inf,
            "days must be 1 to 90": 1 <= self.days <= 90,
            "false_pages must be above 0 and at most 100 a year": 0 < self.false_pages <= 100,
        }
        for message, good in checks.items():
            if not good:
                raise InvalidArgument(f"slo '{self.name[:63]}': {message}")

    @property
    def budget(self) -> float:
        """The share of requests that may be bad."""
        return 1 - self.objective
