"""Bounds on traffic: what an endpoint may have at once, and how often a key may call."""

from typing import Annotated, ClassVar

from msgspec import Meta

from argosy.spec.errors import InvalidArgument
from argosy.spec.strict import Declaration

RATES = (0.001, 1_000_000)
"""Requests a second that a key may be limited to, least and most."""
MOST_AT_ONCE = 1_000_000
MOST = 2**31 - 1


class Limits(Declaration, frozen=True, kw_only=True):
    """Circuit breaking, for each revision and protocol: beyond these a request is refused with 503 at once.

    `requests` may be with replicas at one time, over so many `connections`; `pending` more may wait for a connection.
    Of the requests that are with replicas, `retry_budget_percent` may be retries, and `retry_minimum` always.
    """

    connections: Annotated[int, Meta(ge=1, le=MOST)] = 4096
    pending: Annotated[int, Meta(ge=1, le=MOST)] = 4096
    requests: Annotated[int, Meta(ge=1, le=MOST)] = 4096
    retry_budget_percent: Annotated[float, Meta(ge=0, le=100)] = 20.0
    retry_minimum: Annotated[int, Meta(ge=0, le=MOST)] = 10

    where: ClassVar[str] = "limits."


def check_rate(whose: str, rate: float | None, burst: int | None) -> None:
    """Raise InvalidArgument unless the gateway can enforce these for a key: requests a second, and how many at once."""
    if rate is None:
        if burst is not None:
            raise InvalidArgument(f"{whose}: a burst needs requests a second")
    elif not RATES[0] <= rate <= RATES[1]:
        raise InvalidArgument(f"{whose}: requests a second must be {RATES[0]:g} to {RATES[1]}, not {rate:g}")
    elif burst is not None and not 1 <= burst <= MOST_AT_ONCE:
        raise InvalidArgument(f"{whose}: the burst must be 1 to {MOST_AT_ONCE}, not {burst}")
