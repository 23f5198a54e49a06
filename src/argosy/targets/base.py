"""The declarative interface of every target."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from typing import NamedTuple, Protocol

import msgspec

from argosy.spec.revision import Replica, ResourceUsage, Revision, RevisionStatus


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """What there is for replicas: cores, bytes of memory, GPUs that an engine could use; None where the target knows no
    bound. `lacks` says which part of the sandbox is missing."""

    cores: int | None = None
    memory: int | None = None
    gpus: int | None = None
    lacks: str = ""


class Admitted(msgspec.Struct, frozen=True, kw_only=True):
    """What a replica is told of a package that may be loaded: whether it may run code of its author, and whether it had
    to be signed, and is."""

    trusted: bool
    signed: bool


class Away(NamedTuple):
    """A place that is not heard, and why, in a user's words. `blank`: of what runs there nothing is known, neither from
    the place nor from before."""

    why: str
    blank: bool


Admit = Callable[[Revision], Admitted]
"""Raises what forbids to load the package of a revision: NotFound, BadSignature. May take long."""


class Target(Protocol):
    """A place where replicas run, each reached by its `Address`. Every call may be repeated; none but `stop` waits for
    a replica. The target calls `changed`, in the running loop, whenever the status of a revision may be different."""

    changed: Callable[[], None]

    async def adopt(self) -> int:
        """Take over the replicas that already run, and supervise from now on. How many were found. A place that is away
        is waited for a few seconds, and taken over once it is heard."""
        ...

    async def revisions(self) -> list[Revision]:
        """Every revision that has a replica here or shall have one."""
        ...

    async def scale(self, revision: Revision, replicas: int) -> None:
        """Declare how many replicas this revision shall have, from now on."""
        ...

    async def endpoints(self, revision: str) -> RevisionStatus:
        """The replicas of a revision and what is known of them."""
        ...

    async def remove(self, revision: str) -> None:
        """Drain and stop every replica of a revision and forget it."""
        ...

    async def release(self, replicas: Collection[str]) -> None:
        """The gateway sends these draining replicas no further request: they may be stopped."""
        ...

    async def retry(self, revision: str) -> None:
        """Forget the backoff of a revision: start at once what waits."""
        ...

    async def vacate(self, hosts: Collection[str]) -> Mapping[str, int]:
        """These hosts, by address or name, will go: none is started there from now on, and replicas there serve until
        others do in their place. How many each still has; a host of which the target knows nothing has none. Those that
        were named before and are not now may be used again."""
        ...

    def log(self, replica: str, lines: int, *, follow: bool) -> AsyncIterator[bytes] | None:
        """The last lines that a replica wrote, and with `follow` what it writes from now on; None where they are a file
        of the home, or it is no replica here."""
        ...

    async def usage(self) -> Mapping[str, ResourceUsage]:
        """What each replica has used, by its id; without those of which nothing is known."""
        ...

    def away(self) -> Mapping[str, Away]:
        """The targets whose place is not heard, by name."""
        ...

    def ends(self) -> Mapping[str, tuple[Replica, float]]:
        """The last runs that it saw end, by name, and when (seconds since 1970); it may know of none."""
        ...

    async def capacity(self) -> Capacity:
        """What all replicas together may use."""
        ...

    async def stop(self) -> None:
        """Drain and stop every replica, now that no gateway leads to them, wait until the last is gone, and close."""
        ...

    async def close(self) -> None:
        """Stop supervising; the replicas are left as they are."""
        ...
