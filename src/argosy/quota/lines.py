"""What requests have used, from the lines of an access log, each read once: also where the log is renamed."""

import os
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

import msgspec

from argosy.serving import counts
from argosy.serving.counts import FLOOR_MS
from argosy.spec.language import Price
from argosy.store.usage import HOUR, AnswerCounts, Position, Usage, Used, bucket

LEFT = "DC"
"""Envoy's flag of a client that left."""
MOST = 1024 * 1024
"""Bytes of a log that are read at once."""


class LoggedTokens(msgspec.Struct, frozen=True):
    """What the gateway has counted of one answer; all numbers may be missing."""

    input: float | None = None
    cached: float | None = None
    output: float | None = None
    reasoning: float | None = None
    reserved: float | None = None
    prompt: float | None = None
    stream: bool | str | None = None
    finish: str | None = None
    refused: float | None = None
    lease: str | None = None


class LoggedRequest(msgspec.Struct, frozen=True):
    """What is read of a line."""

    time: str
    tokens: LoggedTokens | None = None
    endpoint: str | None = None
    version: str | None = None
    revision: str | None = None
    key: str | None = None
    ms: float | None = None
    first_byte_ms: float | None = None
    flags: str | None = None
    region: str | None = None
    peer: bool | None = None


LINE = msgspec.json.Decoder(LoggedRequest)


def used(line: bytes, prices: Mapping[str, Price]) -> Used | None:
    """What the request of a line has used; None where it is no line about tokens. Of one from another region the key
    is counted there, where its tokens are limited; one that another region answered says nothing of our revision."""
    if b'"tokens"' not in line:
        return None
    try:
        found = LINE.decode(line)
        at = int(datetime.fromisoformat(found.time).timestamp())
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError):
        return None
    tokens = found.tokens
    if tokens is None or not found.endpoint:
        return None
    unknown = (tokens.input, tokens.output) == (None, None)
    left = unknown and found.flags is not None and LEFT in found.flags.split(",")
    if unknown and tokens.reserved is None and not left:
        return None
    asked, cached, output = (int(each or 0) for each in (tokens.input, tokens.cached, tokens.output))
    price = prices.get(found.endpoint)
    first, each = _times(found, output) if tokens.stream in (True, "true") else (None, None)
    usage = Usage(
        key=(found.key or "") if not found.peer else "",
        endpoint=found.endpoint,
        version=found.version or "",
        hour=at // HOUR * HOUR,
        requests=1,
        aborted=int(found.flags not in (None, "", "-")),
        input=asked,
        cached=cached,
        output=output,
        reasoning=int(tokens.reasoning or 0),
        money=price.of(asked, min(cached, asked), output) if price else 0.0,
        first=first or 0.0,
        each=each or 0.0,
        firsts={} if first is None else {bucket(first): 1},
        eaches={} if each is None else {bucket(each): 1},
    )
    here = found.revision and not found.region
    counted = _counted(found, tokens, at, first, each) if here and output else None
    return Used(
        usage=usage,
        at=at,
        lease=tokens.lease or "",
        reserved=int(tokens.reserved or 0),
        estimated=int(tokens.prompt or 0) if left else 0,
        counted=counted,
    )


def _counted(
    found: LoggedRequest, tokens: LoggedTokens, at: int, first: float | None, each: float | None
) -> AnswerCounts:
    """What rollouts compare of an answer: of one that was not sent to its end only times and refusals."""
    output = int(tokens.output or 0)
    whole = tokens.finish is not None and found.flags in (None, "", "-")

    def once(milliseconds: float | None, parts: int = 1) -> dict[int, int]:
        # The gateway tells whole milliseconds: a few of them would look like a model that is much slower.
        return {} if milliseconds is None else {counts.bucket(max(milliseconds, FLOOR_MS / parts) / 1000): 1}

    return AnswerCounts(
        endpoint=found.endpoint or "",
        revision=found.revision or "",
        at=at,
        firsts=once(first),
        eaches=once(each, output - 1),
        speeds=once(found.ms / output if whole and found.ms is not None else None, output),
        lengths={counts.bucket(output / 1000): 1} if whole else {},
        refusals={} if tokens.refused is None else {int(tokens.refused > 0): 1},
        finishes={str(tokens.finish)[:32]: 1} if whole else {},
        input=int(tokens.input or 0),
        cached=int(tokens.cached or 0),
    )


def _times(found: LoggedRequest, output: int) -> tuple[float | None, float | None]:
    """Of a stream: the time to its first token, and that of each further one."""
    if found.first_byte_ms is None or output < 1:
        return None, None
    rest = None if found.ms is None or output < 2 else max(0.0, found.ms - found.first_byte_ms) / (output - 1)
    return found.first_byte_ms, rest


class LogReader:
    """A log from a position on. One that is renamed to `NAME.1` is read to its end before its successor."""

    def __init__(self, path: Path, position: Position) -> None:
        self.path, self.position = path, position

    def read(self) -> tuple[Position, list[bytes]]:
        """Whole lines that were written since, and the position behind them; raises OSError where there is no log."""
        now, old = os.stat(self.path), self.path.with_name(self.path.name + ".1")
        renamed = self.position.inode not in (0, now.st_ino) and old.exists()
        place = old if renamed else self.path
        start = self.position.offset if os.stat(place).st_ino == self.position.inode else 0
        with place.open("rb") as file:
            here = os.fstat(file.fileno())
            file.seek(start if start <= here.st_size else 0)
            start = file.tell()
            data = file.read(MOST)
        end = data.rfind(b"\n") + 1
        if not end and renamed and now.st_size:
            # Envoy writes to the new one only when it writes no more to the old one.
            return Position(self.position.log, now.st_ino, 0), []
        return Position(self.position.log, here.st_ino, start + end), data[:end].splitlines()


def all_used(lines: Iterable[bytes], prices: Mapping[str, Price]) -> list[Used]:
    """What the requests of these lines have used."""
    return [each for line in lines if (each := used(line, prices)) is not None]
