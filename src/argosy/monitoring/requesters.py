"""Whose requests replicas worked at, from the access log of the gateway on this machine, read on from a position."""

import contextlib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from argosy.capacity.costs import Share
from argosy.gateway.access_log import FIELDS
from argosy.quota.lines import MOST, LoggedTokens, LogReader
from argosy.spec.language import Price
from argosy.store.usage import Position

SAMPLE = 4
"""MiB of the access log that are read at once; of more, the last of it stand for all."""
LEAST_MS = 0.5
"""What a request weighs beside the milliseconds that it took, which the gateway tells as whole numbers."""


class LoggedWork(msgspec.Struct, frozen=True):
    """What is read of a line of the access log."""

    endpoint: str | None = None
    revision: str | None = None
    key: str | None = None
    upstream_ms: float | None = None
    tokens: LoggedTokens | None = None


LINE = msgspec.json.Decoder(LoggedWork)
assert {*LoggedWork.__struct_fields__} <= FIELDS.keys()

Requesters = dict[tuple[str, str], dict[str, Share]]
"""(endpoint, revision) → key → what came by it."""


def requesters(log: Path, position: Position, prices: Mapping[str, Price | None]) -> tuple[Requesters, Position]:
    """What stands in a log from a position on, and up to where it was read. Where there is too much of it, the last of
    it stands for all."""
    found: Requesters = {}
    scale = 1.0
    with contextlib.suppress(OSError):
        position, scale = _sampled(log, position)
        reader = LogReader(log, position)
        for _ in range(SAMPLE + 1):
            after, lines = reader.read()
            if after == reader.position:
                break
            reader.position = position = after
            for line in lines:
                with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
                    _count(LINE.decode(line), prices, found)
    if scale == 1:
        return found, position
    return {who: {key: _scaled(each, scale) for key, each in keys.items()} for who, keys in found.items()}, position


def _scaled(share: Share, scale: float) -> Share:
    return Share(weight=share.weight, requests=round(scale * share.requests), tokens=round(scale * share.tokens))


def _count(line: LoggedWork, prices: Mapping[str, Price | None], found: Requesters) -> None:
    """Add a request. One that reached no replica has no revision."""
    if not line.endpoint or not line.revision:
        return
    weight, used = (line.upstream_ms or 0.0) + LEAST_MS, 0
    if (tokens := line.tokens) is not None:
        asked, cached, output = (int(each or 0) for each in (tokens.input, tokens.cached, tokens.output))
        price, used = prices.get(line.endpoint), asked + output
        weight = price.of(asked, min(cached, asked), output) if price else float(used - min(cached, asked))
    keys = found.setdefault((line.endpoint, line.revision), {})
    before = keys.get(line.key or "", Share())
    keys[line.key or ""] = Share(
        weight=before.weight + weight,
        requests=before.requests + 1,
        tokens=before.tokens + used,
    )


def end_of(log: Path) -> Position:
    """The position behind what stands in a log now."""
    try:
        now = log.stat()
    except OSError:
        return Position(str(log))
    return Position(str(log), now.st_ino, now.st_size)


def _sampled(log: Path, position: Position) -> tuple[Position, float]:
    """From where to read, and for how many requests each stands that is read."""
    now = log.stat()
    left, most = now.st_size - position.offset, SAMPLE * MOST
    if now.st_ino != position.inode or left <= most:
        return position, 1.0
    return Position(position.log, position.inode, now.st_size - most), left / most
