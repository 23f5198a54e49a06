"""What every scaling policy sees and says. Policies are pure: `(observation, state) -> (decision, state)`."""

from typing import Protocol, TypeVar

import msgspec


class Observation(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is known of an endpoint. Times in seconds; `now` is any clock, and may jump.

    `arrivals` counts requests since the last time, `in_flight` those that run, `queue` those that wait for a slot.
    `service_time` is the measured mean time a request holds a slot (0: not known yet), `concurrency` the slots of one
    replica, `cold_start` the time from asking for a replica to its first request. `starting` replicas were asked for
    and are not ready; `ready` leaves out those that drain.
    """

    now: float
    arrivals: int
    in_flight: int
    queue: int
    service_time: float
    concurrency: int
    cold_start: float
    ready: int
    starting: int

    @property
    def total(self) -> int:
        """Replicas that serve or will."""
        return self.ready + self.starting

    @property
    def ongoing(self) -> int:
        """Requests that run or wait."""
        return self.in_flight + self.queue


class Decision(msgspec.Struct, frozen=True, gc=False):
    """How many replicas to start, how many of the ready ones may drain, how many of the loading ones are given up.

    `cancel` is what the baselines do to replicas that still load; our own policy never asks for it.
    """

    start: int = 0
    stop: int = 0
    cancel: int = 0
    reason: str = ""


S = TypeVar("S")


class Policy(Protocol[S]):
    """A policy is asked every `interval` seconds and keeps nothing but the state that it returned."""

    @property
    def interval(self) -> float:
        """Seconds between two decisions."""
        ...

    def begin(self) -> S:
        """The state before the first observation."""
        ...

    def decide(self, observed: Observation, state: S) -> tuple[Decision, S]:
        """What to do now, and the state for the next one."""
        ...
