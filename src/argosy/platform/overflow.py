"""Requests that overflow to external providers, as the platform sees them: a process, and one more peer for each."""

import contextlib
import secrets
import socket

from argosy.control.recording import Sidecar
from argosy.spec.region import Peer
from argosy.spec.settings import Home
from argosy.spec.strict import stored
from argosy.spec.supply import External
from argosy.supply.external import OverflowConfig, peers
from argosy.supply.overflow import config_file


def overflow(home: Home) -> Sidecar:
    """The process of a home; it gives back what it has leased."""
    log = home.logs / "overflow.log"
    file = config_file(home.run)
    return Sidecar("argosy.supply.overflow", home.root, file, folder=home.root, log=log, drain=5.0)


class OverflowProcess:
    """The process that sends requests to `external` providers; it runs while there are some with a budget."""

    def __init__(self, home: Home, external: dict[str, External]) -> None:
        self._home, self.sidecar = home, overflow(home)
        self._external = {name: each for name, each in external.items() if each.budget}
        self._config: OverflowConfig | None = None

    async def start(self) -> None:
        """Adopt the process of an earlier platform, with the port and secrets that the gateway has of it; one that was
        told something else is ended."""
        before = stored(config_file(self._home.run), OverflowConfig)
        if before is not None and before.external == self._external:
            self._config = before
            await self.sidecar.start()
        else:
            await self.sidecar.stop()
        self.peers()

    def peers(self) -> tuple[Peer, ...]:
        """The providers as peers of the gateway. Called with each pass: a process that has ended is started again."""
        if not self._external:
            return ()
        if self._config is None:
            tokens = {name: secrets.token_urlsafe(32) for name in self._external}
            self._config = OverflowConfig(port=_free(), tokens=tokens, external=self._external)
        self.sidecar.want(self._config, by=self._external)
        return peers(self._config)


def _free() -> int:
    """A port that nobody listens at; the one who takes it in between has the process fail, which the log says."""
    with contextlib.closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
