"""What a device remembers of its updates, what it meets, and what it decides: the words of `update.decide`."""

from typing import Literal

import msgspec

from argosy_edge.trial import Tally
from argosy_edge.wire import Facts, Phase, Quality, Trial, Update

Place = Literal["a", "b", ""]
Step = Literal["wait", "pause", "fetch", "assemble", "verify", "selftest", "load", "switch", "clear"]


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """What a slot has or is to have. `envelope` is the SHA-256 of the signed statement, which lies beside the state."""

    index: int
    ref: str
    package: str
    envelope: str
    trial: Trial = Trial()


class Denied(msgspec.Struct, frozen=True, kw_only=True):
    """A package that this device never takes again, and why."""

    package: str
    index: int
    why: str


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What has to survive. `floor`: the highest index that was committed. `slots`: what is complete and verified.
    `fallback`: the slot before the committed one, while nothing was written to it since. `free`: the one that may be
    written. `target`: the candidate; `loads`: starts that it has left. `refused`: the last update that was not taken,
    and why."""

    boot: int = 0
    phase: Phase = "idle"
    committed: Place = ""
    fallback: Place = ""
    free: Place = "a"
    slots: dict[Place, Content] = {}
    target: Content | None = None
    loads: int = 0
    floor: int = 0
    held: bool = False
    attempts: int = 0
    denied: tuple[Denied, ...] = ()
    refused: str = ""
    tally: Tally = Tally()

    @property
    def content(self) -> Content | None:
        """What is committed; None: the factory model."""
        return self.slots.get(self.committed)


class Started(msgspec.Struct, frozen=True):
    """The agent was started, after whatever ended it."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What the platform wants. `update` has been verified, and `envelope` is on disk. `space`: bytes that are free;
    `spare`: those of what is in the free slot."""

    update: Update | None = None
    envelope: str = ""
    facts: Facts | None = None
    space: int | None = None
    spare: int = 0
    held: bool = False
    drop: bool = False


class Ended(msgspec.Struct, frozen=True):
    """A step was done."""

    step: Step


class Failed(msgspec.Struct, frozen=True, kw_only=True):
    """A step was not done. "later": it may work the next time; "refused": not with this update; "bad": the package is
    to blame."""

    step: Step
    how: Literal["later", "refused", "bad"]
    why: str


class Looked(msgspec.Struct, frozen=True, kw_only=True):
    """What both slots did in the seconds since the last look. `alone`: there is none but the candidate."""

    quality: Quality
    seconds: float
    alone: bool = False


class Died(msgspec.Struct, frozen=True):
    """The candidate's process ended by itself."""

    why: str


class Woke(msgspec.Struct, frozen=True):
    """The time of a decision to wait is over."""


class Stopping(msgspec.Struct, frozen=True):
    """The agent ends in good order. `healthy`: a candidate was loaded and answered until now."""

    healthy: bool


Observation = Started | Asked | Ended | Failed | Looked | Died | Woke | Stopping


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something to report, of the kinds of `wire.DeviceEvent`."""

    kind: Literal["started", "phase", "committed", "rolled_back", "refused", "trouble", "ended"]
    detail: str = ""
    content: Content | None = None


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What to do next, once the new state is on disk. "wait": go on with what is running; with `seconds`: then
    `Woke`. "pause": end what is running. Each other step ends what is running and begins. "switch": serve `place`, and
    nothing beside it."""

    step: Step
    place: Place = ""
    content: Content | None = None
    seconds: float | None = None
    events: tuple[Event, ...] = ()
