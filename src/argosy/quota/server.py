"""Leases for gateways, over HTTP on a Unix socket; and the reading of the access log that settles them.

It goes on when the controller ends, and reads in a file, which the controller writes, what keys and endpoints there
are. All it knows is in the database: killed, it goes on where it was.
"""

import asyncio
import contextlib
import logging
import math
import socket
import struct
import threading
import time
from collections.abc import Callable, Set
from pathlib import Path
from typing import Any

import msgspec
import psutil

from argosy.process.managed import alive
from argosy.process.sockets import bind
from argosy.quota.lines import LogReader, all_used
from argosy.spec.errors import ArgosyError, Unavailable
from argosy.spec.language import Price, TokenLimits
from argosy.spec.settings import Home
from argosy.store.database import Database
from argosy.store.tokens import MOST, Ask, Decided
from argosy.store.usage import TokenLedger

LOG = logging.getLogger(__name__)
EVERY = 0.25
"""Seconds between two looks into the access log."""
EXPIRED = 5.0
BODY = 64 * 1024
MACHINE = socket.gethostname()


class PricedEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be known of an endpoint: its price, and how many seconds an answer may take."""

    price: Price | None = None
    timeout: float = 60.0


class QuotaConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What the controller writes. The limits of the keys in `shares` are what this region has of them."""

    log: str = ""
    keys: dict[str, TokenLimits] = {}
    shares: tuple[str, ...] = ()
    endpoints: dict[str, PricedEndpoint] = {}


def quota_socket(run: Path) -> Path:
    """Where the gateway reaches it."""
    return run / "quota.sock"


def config_file(run: Path) -> Path:
    """Where the controller says what keys and endpoints there are."""
    return run / "quota.json"


Waiting = tuple[Ask, list[tuple[str, int]], asyncio.Future[Decided]]


class QuotaServer:
    """`clock` gives seconds since 1970."""

    def __init__(self, home: Home, database: Database, clock: Callable[[], float] = time.time) -> None:
        self.home, self._clock = home, clock
        self.config, self._seen = QuotaConfig(), 0
        self.ledger = TokenLedger(database, self.limits)
        self._asks: list[Waiting] = []
        self._asked = asyncio.Event()
        self._reader: LogReader | None = None
        self._swept = 0.0
        self._settling = threading.Lock()

    def limits(self, key: str) -> TokenLimits | None:
        """Those of a key."""
        return self.config.keys.get(key)

    async def run(self) -> None:
        """For ever."""
        bound = bind(quota_socket(self.home.run))
        server = await asyncio.start_unix_server(self._serve, sock=bound, backlog=1024, limit=BODY)
        async with server:
            await asyncio.gather(self._answer(), self._settle())

    def load(self) -> None:
        """Read what the controller has written, where it has changed."""
        path = config_file(self.home.run)
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            if (seen := path.stat().st_mtime_ns) != self._seen:
                self.config = msgspec.json.decode(path.read_bytes(), type=QuotaConfig)
                self._seen = seen

    async def _settle(self) -> None:
        trouble = ""
        while True:
            try:
                more = await asyncio.to_thread(self.settle)
                trouble = ""
            except (ArgosyError, OSError) as error:
                more, text = False, str(error)
                if text != trouble:
                    LOG.warning("what was used is read later: %s", text)
                trouble = text
            except Exception:
                more = False
                LOG.exception("what was used is read later")
            if not more:
                await asyncio.sleep(EVERY)

    def settle(self, drained: Set[str] = frozenset()) -> bool:
        """Read on in the access log, and end leases that are over, and those of gateways that ended when nothing was
        in flight. Whether there may be more to read at once. Raises OSError, Unavailable, StorageFull."""
        with self._settling:
            self.load()
            now = self._clock()
            gone = self._gone() if drained or now - self._swept >= EXPIRED else None
            if self._read():
                return True
            if gone is not None:
                self.ledger.expire(int(now), gone - drained, drained)
                self._swept = now
            return False

    def _read(self) -> bool:
        if not self.config.log:
            return False
        if self._reader is None or str(self._reader.path) != self.config.log:
            name = f"{MACHINE}:{self.config.log}"[-255:]
            self._reader = LogReader(Path(self.config.log), self.ledger.position(name))
        reader = self._reader
        try:
            after, lines = reader.read()
        except FileNotFoundError:
            return False
        if after == reader.position:
            return False
        prices = {name: each.price for name, each in self.config.endpoints.items() if each.price is not None}
        if self.ledger.take(reader.position, after, all_used(lines, prices)):
            reader.position = after
        else:
            self._reader = None
        return True

    def _gone(self) -> set[str]:
        """Gateways of this machine that hold leases, and whose Envoy has ended: all that it has written is there."""
        mine = {each for each in self.ledger.gateways() if each.startswith(f"{MACHINE}/")}
        return {each for each in mine if not _runs(int(each.rpartition("/")[2]))}

    async def _answer(self) -> None:
        """All who have asked meanwhile are answered by one transaction."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            batch, self._asks = self._asks, []
            batch = [each for each in batch if not each[2].done()]
            back = [each for _, given, _ in batch for each in given]
            try:
                self.load()
                asks = [ask for ask, _, _ in batch]
                found = await asyncio.to_thread(self.ledger.ask, asks, back, int(self._clock()))
            except ArgosyError as error:
                for _, _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, _, future), decided in zip(batch, found, strict=True):
                if not future.done():
                    future.set_result(decided)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Requests of one connection, which Envoy keeps."""
        peer = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        gateway = f"{MACHINE}/{struct.unpack('3i', peer)[0]}"
        with contextlib.suppress(ArgosyError, OSError, EOFError, asyncio.LimitOverrunError, ValueError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                size = next(int(line[15:]) for line in head.split("\r\n") if line.startswith("content-length:"))
                body = (await reader.readexactly(min(size, BODY))).decode()
                if head.startswith("post /drained "):
                    while await asyncio.to_thread(self.settle, {f"{MACHINE}/{int(body)}"}):
                        pass
                    writer.write(_response(200, {}, None))
                else:
                    writer.write(await self._decide(body, gateway))
                await writer.drain()
        writer.close()

    async def _decide(self, body: str, gateway: str) -> bytes:
        """`KEY ENDPOINT TOKENS WORTH`, and a line `LEASE TOKENS` for each lease that is given back."""
        first, *rest = body.splitlines()
        key, endpoint, tokens, worth = first.split()
        about = self.config.endpoints.get(endpoint, PricedEndpoint())
        rate = max(about.price.input, about.price.cached or 0.0, about.price.output) / 1e6 if about.price else 0.0
        most, longest = min(int(worth), MOST), math.ceil(about.timeout)
        ask = Ask(key=key, tokens=int(tokens), rate=rate, longest=longest, gateway=gateway, worth=most)
        back = [(lease, int(left)) for lease, left in (line.split() for line in rest)]
        future: asyncio.Future[Decided] = asyncio.get_running_loop().create_future()
        self._asks.append((ask, back, future))
        self._asked.set()
        try:
            return answered(await future, ask, share=key in self.config.shares)
        except Unavailable as error:
            return _response(503, {}, {"error": error.message})
        except ArgosyError as error:
            LOG.error("a lease cannot be given: %s", error.message)
            return _response(503, {}, {"error": error.message})


def _runs(pid: int) -> bool:
    try:
        return alive(psutil.Process(pid))
    except psutil.Error:
        return False


def answered(decided: Decided, ask: Ask, *, share: bool = False) -> bytes:
    """What the gateway is answered: a lease, or what it answers in its turn, in OpenAI's form."""
    told: dict[str, object] = {}
    if decided.limit is not None:
        told = {
            "x-ratelimit-limit-tokens": decided.limit,
            "x-ratelimit-remaining-tokens": decided.remaining,
            "x-ratelimit-reset-tokens": f"{decided.reset}s",
        }
    if (lease := decided.lease) is not None:
        about = {"x-lease": lease.id, "x-granted": lease.left, "x-until": lease.until}
        return _response(200, told | about, None)
    assert decided.why is not None
    minute = decided.why.period.kind == "minute"
    code = "rate_limit_exceeded" if minute else "insufficient_quota"
    error = {
        "message": explained(decided, ask, share=share),
        "type": "tokens" if minute else code,
        "param": None,
        "code": code,
    }
    again: dict[str, object] = {"retry-after": decided.again} if decided.again else {"x-should-retry": "false"}
    return _response(429, told | again, {"error": error})


def explained(decided: Decided, ask: Ask, *, share: bool = False) -> str:
    """Which limit forbids it, and what can be done. `share`: other regions have the rest of the limit."""
    why = decided.why
    assert why is not None
    unit = f"a {why.period.kind}"
    whose = "this region's share of the key's limit" if share else "the key's limit"
    limit = f"{why.limit:g} in money {unit}" if why.money else f"{int(why.limit)} tokens {unit}"
    needed = f"{ask.tokens} tokens (prompt and max_tokens)" + (f" at {ask.rate:g} each" if why.money else "")
    if not decided.again:
        instead = ", or ask a region that has more of it" if share else ""
        return f"this request may need {needed}, and {whose} is {limit}: lower max_tokens{instead}"
    used = f"{why.used:g}" if why.money else f"{int(why.used)} tokens"
    if decided.again == 1 and why.used + ask.tokens * (ask.rate if why.money else 1) <= why.limit:
        return f"{whose} is {limit}; {used} were used, and requests that run have reserved the rest"
    return (
        f"{whose} is {limit}, of which {used} were used, and this request may need {needed}; "
        f"the next {why.period.kind} begins in {decided.again} s"
    )


def _response(status: int, headers: dict[str, Any], body: object) -> bytes:
    data = b"" if body is None else msgspec.json.encode(body)
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(data)}", "content-type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + data
