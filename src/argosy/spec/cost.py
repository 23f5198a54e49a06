"""What a platform's machine costs, and what may be spent: the section `cost` of config.yaml."""

import math
from typing import ClassVar

from msgspec import field

from argosy.spec.errors import InvalidArgument
from argosy.spec.strict import Amount, Declaration, Positive


class EndpointCost(Declaration, frozen=True, kw_only=True):
    """What an endpoint may cost: `budget` dollars a month, of which 80 % are an incident and all are a page."""

    budget: Positive

    where: ClassVar[str] = "cost."


class CostSettings(Declaration, frozen=True, kw_only=True):
    """What this machine costs, in dollars an hour, where nobody else says it: a `core`, a GB of `memory`, a `gpu`; of a
    replica what its `resources` declare counts, and one core where they declare none. Or `watts` that the machine
    draws, and the `tariff` of a kWh. `shared` are things of all endpoints, by name (gateway, storage, egress): dollars
    an hour, which `shares` divide among endpoints; without those they are nobody's. `key_budgets` of keys at all
    endpoints, by name, are dollars a month; those of an endpoint stand in its declaration. `rates`: what a unit of
    another currency is worth, for invoices."""

    core: Amount = 0.0
    memory: Amount = 0.0
    gpu: Amount = 0.0
    watts: Amount = 0.0
    tariff: Amount = 0.0
    shared: dict[str, Amount] = field(default_factory=dict[str, float])
    shares: dict[str, Amount] = field(default_factory=dict[str, float])
    key_budgets: dict[str, Amount] = field(default_factory=dict[str, float])
    rates: dict[str, Positive] = field(default_factory=dict[str, float])

    where: ClassVar[str] = "cost."

    def __post_init__(self) -> None:
        super().__post_init__()
        named = {"shared": self.shared, "shares": self.shares}
        for name, values in (named | {"key_budgets": self.key_budgets, "rates": self.rates}).items():
            if odd := [each for each, value in values.items() if not math.isfinite(value)]:
                raise InvalidArgument(f"cost.{name}: '{odd[0][:80]}' must be a finite number")
