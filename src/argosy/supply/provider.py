"""What a provider of machines can be asked, whichever kind it is; one file of this room a kind.

Every call may take seconds and blocks: make it in a thread. A provider raises Unavailable or DeadlineExceeded where
nobody knows whether what was asked for happens (ask `list`, then ask again), and any other error of the table where
it is certain that it does not: RateLimited for a quota that is spent or no capacity, PermissionDenied, InvalidArgument.
"""

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from argosy.spec.offer import Launch, Offer


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider does to a machine by itself, `at` seconds since 1970: it announces (`notice`) that it takes it
    back at `deadline`, or it has taken it. `launch` is the launch's id."""

    launch: str
    kind: Literal["notice", "preempted"]
    at: float
    deadline: float | None = None


class Provider(Protocol):
    """A seller of machines, or a place that has some."""

    @property
    def name(self) -> str:
        """As offers have it; of the provider's section in `supply` of config.yaml."""
        ...

    def offers(self) -> Sequence[Offer]:
        """What it sells now, without what was learned."""
        ...

    def quota(self, offer: Offer) -> int | None:
        """How many more machines of this offer may be launched; None where it does not say."""
        ...

    def launch(self, launch: Launch) -> Launch:
        """Ask for a machine. A launch whose id is known already makes no second one: it is answered as it stands.
        Returns when the provider has taken it, not when the machine serves."""
        ...

    def list(self) -> Sequence[Launch]:
        """Every machine of ours that it has or bills, as it stands, with its own times and price. A machine that bears
        no id of a launch has the id empty. Those that have ended may be in it for a while: in the state `ended` or
        `failed`, with the reason and the end that the provider bills to, so that what was given back can be checked.
        """
        ...

    def end(self, launch: Launch) -> None:
        """Give a machine back, by the launch's id, or by `machine` where it has none. One that is gone is no error."""
        ...

    def events(self) -> Sequence[Event]:
        """What happened since the last call. What was told once may be told again."""
        ...
