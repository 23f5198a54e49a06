"""`python -m argosy.activator.server RUN`: the activator, a process that outlives the controller.

The gateway sends here what comes for an endpoint without a replica. A request's head is read and its body left in the
socket; once a replica is ready, both are passed on as they are, and the answer back (`grpc.py` does that for gRPC). A
request past the queue's size or deadline is answered 503 with Retry-After. While anybody waits, the controller gets a
message, five times a second.
"""

import asyncio
import contextlib
import json
import socket
import sys
from pathlib import Path

from argosy.activator.queue import Destination, Outcome, Queues, Refusal
from argosy.process.sockets import bind, connect
from argosy.serving.eviction import RESERVE
from argosy.serving.port import open_files, open_many
from argosy.spec.errors import openai_error

HEAD = 64 * 1024
CHUNK = 64 * 1024
HEAD_SECONDS = 10.0
REPORTED = 0.2
"""Seconds between two messages to the controller."""
AGAIN = 0.05
END = b"\r\n\r\n"


def http_socket(run: Path) -> Path:
    """Where the gateway reaches it."""
    return run / "waiting.sock"


def grpc_socket(run: Path) -> Path:
    """Where the gateway reaches it for gRPC."""
    return run / "waiting.grpc"


def demand_socket(run: Path) -> Path:
    """Where the controller listens for demand."""
    return run / "demand.sock"


def doors_file(run: Path) -> Path:
    """Where the controller says who may wait."""
    return run / "waiting.json"


class Line(asyncio.StreamReader):
    """What a client sends, and whether it has left."""

    def __init__(self) -> None:
        super().__init__(limit=HEAD)
        self.left = asyncio.Event()

    def feed_eof(self) -> None:
        """The other side closed."""
        super().feed_eof()
        self.left.set()

    def set_exception(self, exc: Exception) -> None:
        """The connection broke."""
        super().set_exception(exc)
        self.left.set()


class Activator:
    """Has requests wait in queues and passes them on."""

    def __init__(self, run: Path) -> None:
        self.run_dir, self.queues = run, Queues(doors_file(run))
        self._open, self._most = 0, max(8, (open_files() - RESERVE) // 2)

    async def run(self) -> None:
        from argosy.activator.grpc import Calls

        path = http_socket(self.run_dir)
        loop = asyncio.get_running_loop()
        await Calls(self.queues).start(grpc_socket(self.run_dir))
        await loop.create_unix_server(self._protocol, sock=bind(path), backlog=4096)
        await asyncio.gather(self.queues.run(), self._report())

    def _protocol(self) -> asyncio.StreamReaderProtocol:
        line = Line()
        return asyncio.StreamReaderProtocol(line, lambda _, writer: self._serve(line, writer))

    async def _report(self) -> None:
        out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        out.setblocking(False)
        while True:
            if waiting := self.queues.waiting():
                with contextlib.suppress(OSError):
                    out.sendto(json.dumps(waiting).encode(), str(demand_socket(self.run_dir)))
            await asyncio.sleep(REPORTED if waiting else AGAIN)

    async def _serve(self, line: Line, writer: asyncio.StreamWriter) -> None:
        """One request on one connection, which the answer closes. One without an answer is sent here again. Whoever
        comes when no files are left is refused at once."""
        self._open += 1
        try:
            with contextlib.suppress(OSError, EOFError, asyncio.LimitOverrunError, TimeoutError):
                async with asyncio.timeout(HEAD_SECONDS):
                    name, head = rewritten(await line.readuntil(END))
                outcome: Outcome | None = Refusal("too many requests wait")
                if self._open <= self._most:
                    outcome = await self._until_passed(name, head, line, writer)
                if isinstance(outcome, Refusal):
                    writer.write(refused(outcome, head))
                    await writer.drain()
        finally:
            self._open -= 1
            writer.close()

    async def _until_passed(self, name: str, head: bytes, line: Line, writer: asyncio.StreamWriter) -> Outcome | None:
        """What became of it at last; None: the client has left."""
        while isinstance(outcome := await self._wait(name, line), Destination):
            with self.queues.served(name):
                if await passed(outcome, head, line, writer):
                    return outcome
            await asyncio.sleep(AGAIN)
        return outcome

    async def _wait(self, name: str, line: Line) -> Outcome | None:
        waiting = asyncio.ensure_future(self.queues.wait(name))
        leaving = asyncio.ensure_future(line.left.wait())
        await asyncio.wait([waiting, leaving], return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel()
        if waiting.done():
            return waiting.result()
        waiting.cancel()
        return None


def rewritten(head: bytes) -> tuple[str, bytes]:
    """The endpoint that the gateway names, and the head for the replica: without that name, to be closed after."""
    first, *rest = head.removesuffix(END).split(b"\r\n")
    name, lines = "", [first]
    for line in rest:
        key, _, value = line.partition(b":")
        if key.lower() == b"argosy-endpoint":
            name = value.strip().decode("latin-1")
        elif key.lower() not in (b"connection", b"keep-alive"):
            lines.append(line)
    return name, b"\r\n".join([*lines, b"connection: close"]) + END


def refused(refusal: Refusal, head: bytes) -> bytes:
    """503, and when to come again; in OpenAI's shape at the paths of its API."""
    said, path = f"{refusal.reason}; come again in {refusal.retry_after} s", head.split(b" ", 2)[1]
    openai = path.startswith(b"/v1/") and not path.startswith(b"/v1/models/")
    body = json.dumps(openai_error(said, 503) if openai else {"error": said}).encode()
    return (
        b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: %d\r\n"
        b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (refusal.retry_after, len(body), body)
    )


async def passed(to: Destination, head: bytes, line: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Request there, answer back. False: nobody listens there, and nothing was sent."""
    try:
        answer, request = await connect(to.of(head), HEAD, "activator")
    except OSError:
        return False
    request.write(head)
    sending = asyncio.create_task(_copy(line, request))
    try:
        status, _, rest = (await answer.readuntil(END)).partition(b"\r\n")
        writer.write(status + b"\r\nx-argosy-revision: " + to.revision.encode() + b"\r\n" + rest)
        await _copy(answer, writer)
    finally:
        sending.cancel()
        await asyncio.wait([sending])
        request.close()
    return True


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(CHUNK):
            sink.write(data)
            await sink.drain()


if __name__ == "__main__":
    open_many()
    asyncio.run(Activator(Path(sys.argv[1])).run())
