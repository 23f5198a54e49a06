"""The declarative interface of every target."""

from collections.abc import Collection
from typing import Protocol

from argosy.spec.revision import Revision, RevisionStatus


class Target(Protocol):
    """A place where replicas run. Every call may be repeated; none waits for a replica to become ready."""

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
