"""Carries the outbox out: sends what is due to all sinks at once, and keeps what has not arrived on disk."""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import msgspec

from argosy.control.alerts import outbox as boxes
from argosy.control.alerts.outbox import Letter, Outbox
from argosy.control.alerts.send import repeats, send
from argosy.monitoring.alert import Notice
from argosy.spec.alerts import Sink
from argosy.spec.errors import InvalidArgument, Unavailable
from argosy.store.durable import replace

LOG = logging.getLogger(__name__)


class Deliverer:
    """Tells the declared sinks, by their names. `path` keeps the outbox; `clock` is seconds since 1970."""

    def __init__(
        self,
        sinks: Mapping[str, Sink],
        path: Path,
        environ: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.sinks, self.path, self.environ, self.clock = sinks, path, environ, clock
        self.outbox = boxes.known(_read(path), sinks)

    def put(self, notices: Iterable[Notice]) -> None:
        """Take notices in; when this returns they outlive a crash."""
        self._keep(boxes.put(self.outbox, notices, self.sinks, self.clock()))

    async def turn(self) -> None:
        """Send what is due. Never raises for what a sink does."""
        due = boxes.due(self.outbox, self.clock())
        await asyncio.gather(*(self._one(letter) for letter in due))

    async def _one(self, letter: Letter) -> None:
        sink = self.sinks[letter.sink]
        try:
            await send(sink, letter.notice, self.environ)
        except (Unavailable, InvalidArgument) as error:
            final = isinstance(error, InvalidArgument)
            LOG.warning("alert %s to %s: %s", letter.notice.id, letter.sink, error.message)
            self._keep(boxes.failed(self.outbox, letter, self.clock(), error.message, final=final))
        else:
            self._keep(boxes.arrived(self.outbox, letter, self.clock(), repeat=repeats(sink)))

    def _keep(self, outbox: Outbox) -> None:
        if outbox != self.outbox:
            replace(self.path, msgspec.json.encode(outbox), self.path.parent, mode=0o600)
            self.outbox = outbox


def _read(path: Path) -> Outbox:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Outbox)
    except FileNotFoundError:
        return Outbox()
    except msgspec.MsgspecError as error:
        LOG.error("the outbox %s cannot be read and begins anew: %s", path, error)
        return Outbox()
