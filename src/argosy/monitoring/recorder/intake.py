"""What the gateway sends of requests to language models: MessagePack, in Fluentd's format, on a Unix socket.

It is read at once whatever the disk does, so that nothing is held up there; what cannot be taken is dropped and
counted. Texts lose what they must not tell before they become rows: nothing else of them is kept.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np

from argosy.gateway.access_log import PING
from argosy.monitoring.recorder.redact import completed, every_text, patterns, steps, sure, without
from argosy.process.sockets import bind
from argosy.profiles.languages import language
from argosy.serving.recording import CANCELLED
from argosy.spec.errors import table
from argosy.spec.language import RECORDED
from argosy.spec.payload import PayloadLog
from argosy.spec.signature import TensorSpec
from argosy.spec.tensor import NUMPY, Array
from argosy.store.payloads.record import REQUEST, Rows

LOG = logging.getLogger(__name__)
MOST_BYTES = 64 * 1024 * 1024
"""Of one message, and of those that wait for their turn."""
READ = 1024 * 1024
ERRORS = {CANCELLED: "cancelled"} | {error.http: code for code, error in reversed(table().items())}
"""What a status is called in the log, where several codes have it by the first one."""


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """One request, as `gateway/access_log.py` has it. `payload` has the texts as JSON has them: `prompt`, the value of
    the field `kind` of the request, and under `1`, `2`, … the answer; `cut` where one was too long."""

    request_id: str = ""
    endpoint: str | None = None
    version: str | None = None
    replica: str | None = None
    status: int = 0
    flags: str | None = ""
    ms: float = 0
    time: str = "0"
    tokens: dict[str, Any] | None = None
    payload: dict[str, Any] = {}

    @property
    def code(self) -> int:
        """The status of the answer, 499 where the caller went away before it was complete."""
        return CANCELLED if "DC" in (self.flags or "") else self.status


def size(data: bytes | bytearray, at: int = 0) -> int:
    """Where the MessagePack value that begins there ends; beyond the data where it is not all there. Raises
    ValueError."""
    left = 1
    while left and at < len(data):
        left -= 1
        kind, at = data[at], at + 1
        if kind <= 0x7F or kind >= 0xE0 or kind in (0xC0, 0xC2, 0xC3):
            continue
        if kind <= 0x8F:
            left += 2 * (kind & 0x0F)
        elif kind <= 0x9F:
            left += kind & 0x0F
        elif kind <= 0xBF:
            at += kind & 0x1F
        elif kind in _FIXED:
            at += _FIXED[kind]
        elif kind in _SIZED:
            width, each, more = _SIZED[kind]
            if at + width > len(data):
                return len(data) + 1
            count = int.from_bytes(data[at : at + width])
            at += width + more
            left, at = (left + each * count, at) if each else (left, at + count)
        else:
            raise ValueError(f"no MessagePack: {kind:#x}")
    return at if not left else max(at, len(data)) + 1


_FIXED = {0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8} | {
    0xD4 + power: 2**power + 1 for power in range(5)
}
"""Bytes that follow: numbers, and extensions of a fixed length."""
_SIZED = {0xC4: (1, 0, 0), 0xC5: (2, 0, 0), 0xC6: (4, 0, 0), 0xC7: (1, 0, 1), 0xC8: (2, 0, 1), 0xC9: (4, 0, 1)} | {
    0xD9: (1, 0, 0),
    0xDA: (2, 0, 0),
    0xDB: (4, 0, 0),
    0xDC: (2, 1, 0),
    0xDD: (4, 1, 0),
    0xDE: (2, 2, 0),
    0xDF: (4, 2, 0),
}
"""Bytes of a count, values that each of it stands for (0: bytes), bytes besides."""
_decode = msgspec.msgpack.Decoder(tuple[str, list[tuple[Any, Sent]]]).decode


def texts_of(kind: str, value: Any) -> tuple[str, str]:
    """All that was asked as one text, and of a conversation what its users have said."""
    if kind == "messages" or (isinstance(value, list) and value and isinstance(value[0], dict)):
        found: list[tuple[str, str]] = []
        for each in cast("list[Any]", value if isinstance(value, list) else []):
            message = cast("dict[str, Any]", each) if isinstance(each, dict) else {}
            content: Any = message.get("content")
            parts = cast("list[Any]", content) if isinstance(content, list) else [{"text": content}]
            texts = [cast("dict[str, Any]", part).get("text") for part in parts if isinstance(part, dict)]
            found += [(str(message.get("role")), text) for text in texts if isinstance(text, str)]
        whole = "\n".join(text for _, text in found)
        return whole, "\n".join(text for role, text in found if role == "user") or whole
    parts = cast("list[Any]", value) if isinstance(value, list) else [value]
    whole = "\n".join(each for each in parts if isinstance(each, str))
    return whole, whole


def columns(sent: Sent, log: PayloadLog) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is kept of one request, by the names of `RECORDED`: of what was asked, and of the answer."""
    payload, tokens, cut = sent.payload, sent.tokens or {}, bool(sent.payload.get("cut"))
    kind, prompt = str(payload.get("kind", "")), str(payload.get("prompt", ""))
    try:
        value = _data(completed(sure(prompt)) if cut else prompt)
        whole, said = texts_of(kind, value)
        for path in filter(None, (steps(name) for name in log.redact)):
            value = without(value, path[1:]) if path[0] == kind else value
        value = every_text(value, lambda text: patterns(text, log.patterns))
    except RecursionError:
        value, whole, said = None, "", ""
    blocks = sorted((int(name), str(block)) for name, block in payload.items() if name.isdecimal())
    answer = "".join(block for _, block in blocks)
    text = _data(completed(f'"{sure(answer) if cut or not tokens.get("finish") else answer}')) or ""
    cut = cut or value is None
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    asked = {
        "prompt": shown.encode(errors="replace"),
        "characters": len(whole),
        "tokens": int(tokens.get("input", 0)),
        "language": language(said).encode(),
    }
    answered = {
        "text": patterns(text, log.patterns).encode(errors="replace"),
        "characters": len(text),
        "tokens": int(tokens.get("output", 0)),
        "finish": str(tokens.get("finish") or "").encode(),
        "id": str(payload.get("id", "")).encode(),
        "cut": cut,
        "label": 1,
    }
    return asked, answered


def _data(text: str) -> Any:
    """JSON data; None for what is none."""
    try:
        return json.loads(text, strict=False)
    except ValueError:
        return None


def rows(sent: Iterable[Sent], logs: Mapping[str, PayloadLog]) -> list[tuple[str, str, str, Rows]]:
    """Requests as the recorder takes them, with endpoint, version and replica: those that were answered, broke off, and
    failed, each by themselves. What reached no replica, or an endpoint without a log, is left out."""
    groups: dict[tuple[str, str, str, bool, bool], list[Sent]] = {}
    for each in sent:
        if each.endpoint and each.endpoint in logs and each.version and each.replica:
            key = (each.endpoint, each.version, each.replica, each.code < 400, each.status == 200)
            groups.setdefault(key, []).append(each)
    return [(*key[:3], _rows(some, logs[key[0]], *key[3:])) for key, some in groups.items()]


def _rows(sent: list[Sent], log: PayloadLog, good: bool, answered: bool) -> Rows:
    requests = np.zeros(len(sent), REQUEST)
    for at, each in enumerate(sent):
        weight = 1.0 if not good and log.errors else 1 / (log.sample or 1.0)
        requests[at] = (int(float(each.time) * 1e9), int(each.ms * 1e6), weight, 1, each.code)
    made = [columns(each, log) for each in sent]
    return Rows(
        requests=requests,
        ids=[each.request_id for each in sent],
        inputs=_arrays(RECORDED.inputs, [asked for asked, _ in made]),
        outputs=_arrays(RECORDED.outputs, [answer for _, answer in made]) if answered else {},
        failures=() if good else [(ERRORS.get(each.code, "internal"), "") for each in sent],
    )


def _arrays(specs: Iterable[TensorSpec], made: list[dict[str, Any]]) -> dict[str, Array]:
    return {spec.name: np.array([each[spec.name] for each in made], NUMPY[spec.datatype]) for spec in specs}


class Intake:
    """Listens, and gives what came to `take`, one message after another. `lost` is told how many requests, and how many
    messages, could not be taken."""

    def __init__(
        self, path: Path, take: Callable[[list[Sent]], Awaitable[None]], lost: Callable[[int, int], None]
    ) -> None:
        self._path, self._take, self._lost = path, take, lost
        self._waiting: asyncio.Queue[list[Sent]] = asyncio.Queue()
        self._bytes = 0

    async def run(self) -> None:
        """Until cancelled; then what waits is taken."""
        server = await asyncio.start_unix_server(self._read, sock=bind(self._path))
        try:
            while True:
                await self._next(await self._waiting.get())
        finally:
            server.close()
            self._path.unlink(missing_ok=True)
            while not self._waiting.empty():
                await self._next(self._waiting.get_nowait())

    async def _next(self, sent: list[Sent]) -> None:
        self._bytes -= _weight(sent)
        try:
            await self._take(sent)
        except Exception as error:
            self._lost(len(sent), 0)
            LOG.warning("%d requests cannot be recorded: %s: %s", len(sent), type(error).__name__, error)

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held = bytearray()
        try:
            while data := await reader.read(READ):
                held += data
                while held and (end := size(held)) <= len(held):
                    message = bytes(held[:end])
                    del held[:end]
                    if message == PING:
                        writer.write(PING)
                    else:
                        self._put([each for _, each in _decode(message)[1]])
                if len(held) > MOST_BYTES:
                    raise ValueError(f"a message of more than {MOST_BYTES} bytes")
        except (ValueError, msgspec.DecodeError, OSError) as error:
            self._lost(0, 1)
            LOG.warning("the gateway is cut off: %s", error)
        finally:
            writer.close()

    def _put(self, sent: list[Sent]) -> None:
        weight = _weight(sent)
        if self._bytes + weight > MOST_BYTES:
            self._lost(len(sent), 0)
            return
        self._bytes += weight
        self._waiting.put_nowait(sent)


def _weight(sent: list[Sent]) -> int:
    return sum(len(str(value)) for each in sent for value in each.payload.values())
