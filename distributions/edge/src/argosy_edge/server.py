"""The server of a device: HTTP/1.1 on localhost, for the model that serves, with bounds on all that a caller sends.

It runs in a thread of its own; models are asked in others, a few at a time, so that one that takes long stops nothing
else. `swap` exchanges the model between two requests; those under way are answered by the one that they came to.
"""

import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import msgspec

from argosy_edge import __version__, http11, protocol
from argosy_edge.errors import (
    AgentError,
    Conflict,
    Internal,
    InvalidArgument,
    NotFound,
    RequestTimeout,
    Unavailable,
)
from argosy_edge.http11 import Headers
from argosy_edge.model import EdgeModel
from argosy_edge.tensors import NUMPY, Arrays
from argosy_edge.trial import cell
from argosy_edge.wire import Arm

log = logging.getLogger("argosy.edge")

MOST_HELD = 64 * 1024 * 1024
"""Bytes of all bodies that are held at once."""
MOST_CONNECTIONS = 64
MOST_WAITING = 32
"""Requests that are taken at once, those that are being answered included."""
SLOWEST = 30.0
"""Seconds in which a request has to arrive, and an answer has to be read."""
IDLE = 75.0
HUNG = 60.0
"""Seconds after which a model that does not answer is called dead."""


class Observer(Protocol):
    """Hears of each request in the thread that asked the model: inputs and outputs, or the error."""

    def __call__(self, model: EdgeModel, inputs: Arrays, outputs: Arrays | AgentError, seconds: float) -> object: ...


class Beside(Protocol):
    """A candidate: it gets a copy of what was asked and answered, and may give the answer instead."""

    def beside(self, inputs: Arrays, outputs: Arrays | AgentError, seconds: float) -> Arrays | None: ...


class Counted:
    """What a slot did, since it was taken."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._arm = Arm()

    def add(self, seconds: float, failed: bool) -> None:
        """One request more."""
        with self._lock:
            cells = list(self._arm.latency)
            if not failed:
                place = cell(seconds)
                cells += [0] * (place + 1 - len(cells))
                cells[place] += 1
            self._arm = Arm(requests=self._arm.requests + 1, errors=self._arm.errors + failed, latency=tuple(cells))

    def take(self) -> Arm:
        """All since the last time."""
        with self._lock:
            found, self._arm = self._arm, Arm()
            return found


class DeviceServer:
    """One model at a port of localhost; none until `swap` gives one. `counted`: what it did."""

    def __init__(self, port: int = 8000, host: str = "127.0.0.1", *, workers: int = 2) -> None:
        self.counted = Counted()
        self.observers: list[Observer] = []
        self.candidate: Beside | None = None
        self.model: EdgeModel | None = None
        self._pool = ThreadPoolExecutor(workers, "model")
        self._running: dict[int, float] = {}
        self._waiting = self._held = 0
        self._local = host in http11.LOCAL or host == "::1"
        self._open: set[asyncio.Task[None]] = set()
        self._socket = _bound(host, port)
        self._loop = asyncio.new_event_loop()
        self.port: int = self._socket.getsockname()[1]
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="server", daemon=True)

    def start(self) -> "DeviceServer":
        """Listen."""
        self._thread.start()
        self._ready.wait()
        return self

    def swap(self, model: EdgeModel | None) -> EdgeModel | None:
        """Serve this model from now on. Returns the one before, which lives for as long as a request needs it."""
        before, self.model = self.model, model
        return before

    def stop(self, timeout: float = 5.0) -> None:
        """Take no more, answer what is under way, end."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._end(timeout), self._loop)
            self._thread.join(timeout + 5)
        else:
            self._loop.close()
        self._socket.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def live(self) -> bool:
        """Whether no request to the model has taken longer than `HUNG` seconds."""
        return all(time.monotonic() - since < HUNG for since in [*self._running.values()])

    def ask(self, inputs: Arrays, outputs: tuple[str, ...] = ()) -> tuple[EdgeModel, Arrays]:
        """The answer to one request, as everybody gets it, and the model that gave it. Raises AgentError."""
        model, candidate = self._served(), self.candidate
        started, before = time.perf_counter(), time.thread_time()
        self._running[threading.get_ident()] = time.monotonic()
        found: Arrays | AgentError
        try:
            found = model.answer(inputs)
        except AgentError as error:
            found = error
        finally:
            del self._running[threading.get_ident()]
        spent, seconds = time.thread_time() - before, time.perf_counter() - started
        if isinstance(found, InvalidArgument):
            raise found
        self.counted.add(seconds, isinstance(found, AgentError))
        for observe in self.observers:
            _quietly(observe, model, inputs, found, seconds)
        if candidate is not None and (other := candidate.beside(inputs, found, spent)) is not None:
            found = other if _fits(model, other) else found
        if isinstance(found, AgentError):
            raise found
        names = [port.name for port in model.signature.chosen(outputs)]
        return model, {name: found[name] for name in names}

    def _served(self) -> EdgeModel:
        if self.model is None:
            raise Unavailable("no model is served yet: the device has none, or is loading it")
        return self.model

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._ended, self._idle = asyncio.Event(), asyncio.Event()
        self._idle.set()
        self._server = await asyncio.start_server(
            self._connected, sock=self._socket, limit=http11.MOST_HEAD, backlog=128
        )
        self._ready.set()
        await self._ended.wait()

    async def _end(self, timeout: float) -> None:
        self._server.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), timeout)
        for task in [*self._open]:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        self._ended.set()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        writer.transport.set_write_buffer_limits(high=0)  # an answer that is written has left
        try:
            if len(self._open) > 2 * MOST_CONNECTIONS:
                return
            if len(self._open) > MOST_CONNECTIONS:
                error = Unavailable(f"{MOST_CONNECTIONS} connections are open: close one, or try again")
                await http11.write(writer, *_refusal(error), {}, keep=False)
            else:
                while await self._exchange(reader, writer):
                    pass
            await http11.linger(reader, writer)
        except (OSError, asyncio.IncompleteReadError, TimeoutError, asyncio.CancelledError):
            pass  # who left, or is too slow to read
        finally:
            self._open.discard(task)
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer. Returns whether the connection stays."""
        try:
            first = await asyncio.wait_for(reader.read(1), IDLE)
        except TimeoutError:
            return False
        if not first:
            return False
        method, keep, held = "", False, 0
        fields: Headers = {}
        try:
            async with asyncio.timeout(SLOWEST):
                method, path, headers, stays = await http11.read_head(first, reader)
                held = self._hold(headers)
                body = await http11.read_body(headers, reader, writer)
            keep = stays
            status, data, fields = await self._answer(method, path, headers, body)
        except TimeoutError:
            status, data = _refusal(RequestTimeout(f"the request did not arrive within {SLOWEST:g} s"))
        except AgentError as error:
            status, data = _refusal(error)
        finally:
            self._held -= held
        async with asyncio.timeout(SLOWEST):
            await http11.write(writer, status, data, fields, keep=keep, head=method == "HEAD")
        return keep

    def _hold(self, headers: Headers) -> int:
        """Reserve the bytes of a body. Raises AgentError where it is too large, or others hold too much."""
        size = http11.length_of(headers)
        if self._held + size > MOST_HELD:
            raise Unavailable("other requests hold all the memory there is for bodies: try again")
        self._held += size
        return size

    async def _answer(self, method: str, path: str, headers: Headers, body: bytes) -> tuple[int, bytes, Headers]:
        if self._local:
            http11.check_host(headers.get("host"))
        asked = protocol.operation(method, path)
        if asked.name == "infer":
            model = self._named(asked)
            if self._waiting >= MOST_WAITING:
                raise Unavailable(f"{MOST_WAITING} requests wait already: try again")
            self._waiting += 1
            self._idle.clear()
            try:
                data, length = await self._loop.run_in_executor(self._pool, self._infer, model, headers, body)
            except AgentError:
                raise
            except Exception:
                log.exception("a bug answered %s %s", method, path[:200])
                raise Internal("internal error; see the log of the agent") from None
            finally:
                self._waiting -= 1
                if not self._waiting:
                    self._idle.set()
            kind = {"content-type": protocol.OCTETS, protocol.LENGTH: str(length)} if length is not None else {}
            return 200, data, kind
        return self._told(asked, body)

    def _told(self, asked: protocol.Operation, body: bytes) -> tuple[int, bytes, Headers]:
        status, value = 200, {}
        match asked.name:
            case "live":
                value: Any = {"live": self.live()}
                status = 200 if self.live() else 503
            case "ready":
                value = {"ready": self.model is not None}
                status = 200 if self.model else 503
            case "model_ready":
                value = {"name": self._named(asked).name, "ready": True}
            case "model":
                value = protocol.described(self._named(asked))
            case "index":
                value = protocol.index(body, self.model)
            case _:
                value = {"name": "argosy-edge", "version": __version__, "extensions": protocol.EXTENSIONS}
        return status, msgspec.json.encode(value), {}

    def _named(self, asked: protocol.Operation) -> EdgeModel:
        model = self._served()
        if asked.model != model.name:
            raise NotFound(f"unknown model '{asked.model[:80]}'; this device serves {model.name}")
        if asked.version and asked.version != model.version:
            raise NotFound(f"model '{model.name}' is version {model.version or '?'}, not '{asked.version[:80]}'")
        return model

    def _infer(self, model: EdgeModel, headers: Headers, body: bytes) -> tuple[bytes, int | None]:
        """In a thread of the pool. A model that was swapped meanwhile answers under the same name, or not."""
        request = protocol.request(body, headers.get(protocol.LENGTH), model)
        model.signature.chosen(request.outputs)
        model, outputs = self.ask(request.inputs, request.outputs)
        return protocol.answer(request, model, outputs)


def _refusal(error: AgentError) -> tuple[int, bytes]:
    return error.http, msgspec.json.encode({"error": error.message})


def _fits(model: EdgeModel, outputs: Arrays) -> bool:
    """Whether these outputs of another model are what a caller of this one expects."""
    return all(
        port.name in outputs and outputs[port.name].dtype == NUMPY[port.datatype] for port in model.signature.outputs
    )


def _quietly(observe: Callable[..., object], *words: Any) -> None:
    """What watches never hurts what it watches."""
    try:
        observe(*words)
    except Exception:
        log.exception("an observer failed")


def _bound(host: str, port: int) -> socket.socket:
    found = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
    except OSError as error:
        found.close()
        raise Conflict(f"cannot listen on {host} port {port}: {error.strerror}; choose another with --port") from None
    return found
