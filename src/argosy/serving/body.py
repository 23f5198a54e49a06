"""Reading request bodies: bounded in size before they are read, and in time while they are."""

import asyncio
from typing import Any

from granian.rsgi import ProtocolClosed  # pyright: ignore[reportPrivateImportUsage]

from argosy.protocol import compression
from argosy.spec.errors import InvalidArgument, PayloadTooLarge, RequestTimeout

_SWEEP = 0.5


class BodyReader:
    """Reads bodies of at most `limit` bytes within `timeout` seconds.

    One sweep every half second looks after all bodies in flight: a timer for each would cost more than most requests.
    """

    def __init__(self, limit: int, timeout: float) -> None:
        self._limit = limit
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._reading: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._sweeper: asyncio.TimerHandle | None = None

    async def read(self, headers: Any, protocol: Any) -> bytes:
        """The whole body, decompressed.

        Raises PayloadTooLarge, RequestTimeout, InvalidArgument for one that ends early, and what decompression raises.
        """
        length = headers.get("content-length")
        if length is not None and int(length) > self._limit:
            raise PayloadTooLarge(f"the body has {length} bytes; at most {self._limit} are taken")
        task = asyncio.current_task()
        assert task is not None
        self._reading[task] = self._loop.time()
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(_SWEEP, self._sweep)
        try:
            body = await (protocol() if length is not None else self._chunks(protocol))
        except asyncio.CancelledError:
            if task in self._late:
                task.uncancel()
                raise RequestTimeout(f"the body did not arrive within {self._timeout:g} s") from None
            raise
        except ProtocolClosed:
            raise InvalidArgument("the connection was closed before the whole body had arrived") from None
        finally:
            del self._reading[task]
            self._late.discard(task)
        encoding = headers.get("content-encoding")
        return body if encoding is None else compression.decompress(body, encoding, self._limit)

    async def _chunks(self, protocol: Any) -> bytes:
        parts: list[bytes] = []
        size = 0
        async for chunk in protocol:
            size += len(chunk)
            if size > self._limit:
                raise PayloadTooLarge(f"the body has more than {self._limit} bytes")
            parts.append(chunk)
        return b"".join(parts)

    def _sweep(self) -> None:
        self._sweeper = None
        before = self._loop.time() - self._timeout
        for task, since in self._reading.items():
            if since < before:
                self._late.add(task)
                task.cancel()
        if self._reading:
            self._sweeper = self._loop.call_later(_SWEEP, self._sweep)
