"""Carries a letter out: one try at its sink, and what follows for the outbox."""

import logging
from collections.abc import Mapping

import msgspec

from argosy.alerting import outbox as boxes
from argosy.alerting.outbox import Letter, Outbox
from argosy.alerting.send import repeats, send
from argosy.spec.alerts import Sink
from argosy.spec.errors import InvalidArgument, Unavailable

LOG = logging.getLogger(__name__)


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """A letter that was sent. `error`: why it was not taken; `final`: trying again is of no use."""

    letter: Letter
    error: str = ""
    final: bool = False


async def carry(letter: Letter, sink: Sink, environ: Mapping[str, str]) -> Tried:
    """Send it once. Never raises for what a sink does."""
    try:
        await send(sink, letter.notice, environ)
    except (Unavailable, InvalidArgument) as error:
        LOG.warning("alert %s to %s: %s", letter.notice.id, letter.sink, error.message)
        return Tried(letter=letter, error=error.message, final=isinstance(error, InvalidArgument))
    return Tried(letter=letter)


def noted(outbox: Outbox, tried: Tried, sink: Sink, now: float) -> Outbox:
    """The outbox after a try."""
    if tried.error:
        return boxes.failed(outbox, tried.letter, now, tried.error, final=tried.final)
    return boxes.arrived(outbox, tried.letter, now, repeat=repeats(sink))
