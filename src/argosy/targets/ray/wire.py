"""What the controller, its driver, the foreman and the places of a Ray cluster tell each other.

Orders go controller → driver → foreman → place; reports come back. The controller tells a driver that is new all that
is not done yet, so that an order is never lost; each may come twice.
"""

from typing import Literal

import msgspec

from argosy.spec.revision import Revision
from argosy.spec.tracing import Tracing

SPACE = "argosy"
"""The namespace of the actors, and the first part of their names."""


class PlaceSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A place: what an actor is told. `name` is its own, `short` names this run of the `replica` in its `slot`.

    The package lies at `folder`, if the node sees the files of the platform, else it is fetched from `blobs`. The child
    listens at two of `ports`, shows the `identity` with the `files` that are its certificates, and is `command` with
    its configuration. `version`: that of Argosy, which the node has to have.
    """

    name: str
    replica: str
    short: str
    slot: int
    revision: Revision
    version: str
    trusted: bool
    signed: bool
    folder: str = ""
    blobs: str = ""
    ports: tuple[int, int]
    identity: str
    files: dict[str, str] = {}
    command: tuple[str, ...] = ()
    tracing: Tracing = Tracing()


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag="hello"):
    """To a driver: whose it is. Of two controllers of one `platform`, that with the greater `term` is obeyed."""

    address: str
    platform: str
    term: int


class Start(msgspec.Struct, frozen=True, kw_only=True, tag="start"):
    """Have Ray find a node for a place."""

    spec: PlaceSpec


class End(msgspec.Struct, frozen=True, kw_only=True, tag="end"):
    """Have a child drain and end, or end it with its actor at once; or forget one that has ended."""

    name: str
    how: Literal["terminate", "kill", "forget"]


class Renew(msgspec.Struct, frozen=True, kw_only=True, tag="renew"):
    """New certificates for a place."""

    name: str
    files: dict[str, str]


class Drain(msgspec.Struct, frozen=True, kw_only=True, tag="drain"):
    """Have Ray place nothing more on the nodes with these addresses, names or ids. Ray does not take that back."""

    hosts: tuple[str, ...]


class Leave(msgspec.Struct, frozen=True, tag="leave"):
    """End the foreman: there are no places any more."""


Order = Start | End | Renew | Drain | Leave


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a place. `waiting`: it has no node yet. `started` and `ended`: when its child did, in
    seconds since 1970; `status`: how that ended (negative: a signal; None: not known), `said`: its last output, or why
    it could not be started. `cpu` and `memory`: what it has used, as `ResourceUsage`."""

    spec: PlaceSpec
    phase: Literal["waiting", "preparing", "running", "ended"] = "waiting"
    node: str = ""
    host: str = ""
    ports: tuple[int, int] = (0, 0)
    started: float = 0.0
    ended: float = 0.0
    status: int | None = None
    said: str = ""
    cpu: float = 0.0
    memory: int = 0


class Table(msgspec.Struct, frozen=True, kw_only=True, tag="table"):
    """All places; `number` grows with every change."""

    number: int
    places: tuple[Report, ...] = ()


class Beat(msgspec.Struct, frozen=True, tag="beat"):
    """Nothing is new."""


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """What a living node has of each resource, by Ray's names."""

    total: dict[str, float]


class Room(msgspec.Struct, frozen=True, kw_only=True, tag="room"):
    """The nodes, and what is free of each resource on all of them together; sent while a place has no node."""

    nodes: tuple[Node, ...]
    free: dict[str, float]


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """The driver ends: an error of the table by its code, and its message."""

    code: str
    message: str


Told = Table | Beat | Room | Failed
