"""Bounds on traffic: what an endpoint may have at once, and how often a key may call."""

import msgspec

from argosy.spec.errors import InvalidArgument

RATES = (0.001, 1_000_000)
"""Requests a second that a key may be limited to, least and most."""
MOST_AT_ONCE = 1_000_000
MOST = 2**31 - 1


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Circuit breaking, for each revision and protocol: past these a request is refused with 503 at once.

    `requests` may be with replicas at one time, over so many `connections`; `pending` more may wait for a connection.
    Of the requests that are with replicas, `retry_budget_percent` may be retries, and `retry_minimum` always.
    """

    connections: int = 4096
    pending: int = 4096
    requests: int = 4096
    retry_budget_percent: float = 20.0
    retry_minimum: int = 10

    def __post_init__(self) -> None:
        for field in ("connections", "pending", "requests"):
            if not 1 <= getattr(self, field) <= MOST:
                raise InvalidArgument(f"limits.{field} must be 1 to {MOST}, not {getattr(self, field)}")
        if not 0 <= self.retry_budget_percent <= 100:
            raise InvalidArgument(f"limits.retry_budget_percent must be 0 to 100, not {self.retry_budget_percent:g}")
        if not 0 <= self.retry_minimum <= MOST:
            raise InvalidArgument(f"limits.retry_minimum must be 0 to {MOST}, not {self.retry_minimum}")


def check_rate(whose: str, rate: float | None, burst: int | None) -> None:
    """Raise InvalidArgument unless the gateway can hold a key to these: requests a second, and how many at once."""
    if rate is None:
        if burst is not None:
            raise InvalidArgument(f"{whose}: a burst needs requests a second")
    elif not RATES[0] <= rate <= RATES[1]:
        raise InvalidArgument(f"{whose}: requests a second must be {RATES[0]:g} to {RATES[1]}, not {rate:g}")
    elif burst is not None and not 1 <= burst <= MOST_AT_ONCE:
        raise InvalidArgument(f"{whose}: the burst must be 1 to {MOST_AT_ONCE}, not {burst}")
