"""A link between two regions on one machine: a TCP proxy that delivers what it reads half a round trip later, and that
can be cut, so that nothing arrives and nothing is refused."""

import asyncio
import contextlib


class Link:
    """To an address. `rtt` is in seconds; a connection itself takes no time, only what is said over it."""

    def __init__(self, host: str, port: int, rtt: float) -> None:
        self.to, self.rtt = (host, port), rtt
        self.carried = 0
        self._up = asyncio.Event()
        self._up.set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> "Link":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return self._server.sockets[0].getsockname()[:2]

    def cut(self) -> None:
        """From now on nothing arrives, at either end."""
        self._up.clear()

    def heal(self) -> None:
        """What was sent meanwhile arrives."""
        self._up.set()

    async def stop(self) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._up.wait()
            there, back = await asyncio.open_connection(*self.to)
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._carry(reader, back))
                    both.create_task(self._carry(there, writer))
            finally:
                back.close()
        except (OSError, ExceptionGroup, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One direction. The end of what is read arrives as late as the rest."""
        loop = asyncio.get_running_loop()
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def read() -> None:
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(65536):
                    under_way.put_nowait((loop.time() + self.rtt / 2, data))
            under_way.put_nowait((loop.time() + self.rtt / 2, b""))

        reading = asyncio.create_task(read())
        try:
            while True:
                due, data = await under_way.get()
                await asyncio.sleep(max(0.0, due - loop.time()))
                await self._up.wait()
                if not data:
                    # Each half ends the whole: nobody here half-closes.
                    raise ConnectionError
                self.carried += len(data)
                writer.write(data)
                await writer.drain()
        finally:
            reading.cancel()
