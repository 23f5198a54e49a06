"""The process beside the engine of a language model: it starts it, replays golden examples, says how it is, waits for
its answers before it ends it, and ends itself, with the reason, where the engine does."""

import asyncio
import contextlib
import logging
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from argosy.engines.language.base import Load
from argosy.engines.language.process import EngineServer, engine_of
from argosy.language.config import ADAPTERS, LanguageConfig, read, setup
from argosy.language.copies import Copies
from argosy.language.front import Front
from argosy.packaging.language.engine import replay
from argosy.packaging.package import Package, open_package
from argosy.process import sandbox
from argosy.serving import metrics
from argosy.serving.answers import Answers
from argosy.serving.counts import ReplicaCounts, Work
from argosy.serving.dataplane import DataPlane
from argosy.serving.exchange import Exchange
from argosy.serving.http import PLATFORM, HttpApp
from argosy.serving.listener import Listener
from argosy.serving.model import ServedModel
from argosy.serving.tls import ServerTls
from argosy.spec import crash
from argosy.spec.errors import ArgosyError, Internal, NotFound, Unavailable, Unsupported
from argosy.store.durable import say

LOG = logging.getLogger("argosy.language")

LOOK = 0.5
"""Seconds between two readings of the engine's metrics."""
METRICS: tuple[tuple[str, str, str, str], ...] = (
    ("argosy_engine_running", "gauge", "Requests that the engine generates for", "running"),
    ("argosy_engine_waiting", "gauge", "Requests that wait in the engine", "waiting"),
    ("argosy_engine_kv_used", "gauge", "Share of the KV cache in use, where the engine tells", "kv_used"),
    ("argosy_engine_input_tokens_total", "counter", "Tokens of prompts", "input"),
    ("argosy_engine_cached_tokens_total", "counter", "Those of them found in the KV cache", "cached"),
    ("argosy_engine_output_tokens_total", "counter", "Tokens of answers", "output"),
)
"""Name, type and help of what is told of every engine alike, and the field of `Load`."""


class LanguagePlane(DataPlane):
    """What the replica is asked by the Open Inference Protocol: everything but to generate."""

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__(config.runtime.max_body_bytes, Answers() if config.http.path or config.http.tls else None)
        self._config = config
        self.package: Package | None = None
        self.loaded = False
        self.resting = self.asleep = False
        self.dead = ""
        self.turned = asyncio.Event()
        self.load = Load()
        self._busy, self._read = 0.0, time.monotonic()

    def live(self) -> bool:
        return not self.dead

    def ready(self) -> bool:
        return self.loaded and not (self.draining or self.dead or self.resting or self.asleep)

    def get(self, name: str, version: str = "") -> ServedModel:
        """Refuses: the engine answers at an address of its own."""
        self._check(name, version)
        raise Unsupported(f"'{name}' is a language model: ask it at /v1/chat/completions of the gateway")

    def _check(self, name: str, version: str) -> None:
        if name != self._config.model.name or version not in ("", self._config.model.version):
            raise NotFound(f"unknown model '{name[:80]}'; this replica has {self._config.model.name}")
        if not self.loaded:
            raise Unavailable(f"model '{name}' is loading", retry_after=1)

    def ask(self, operation: str, name: str = "", version: str = "", only_ready: bool = False) -> dict[str, Any]:
        model = self._config.model
        if operation in ("model", "model_ready", "config") or name:
            self._check(name, version)
        match operation:
            case "model_ready":
                return {"name": name, "ready": self.ready()}
            case "model" | "config":
                engine = self.package.manifest.engine if self.package else ""
                return {"name": name, "versions": [model.version], "platform": f"argosy_{engine}", "inputs": [],
                        "outputs": []}  # fmt: skip
            case "names":
                return {"models": [model.name] if self.loaded else []}
            case "stats":
                return {"model_stats": []}
            case "index":
                state = {"name": model.name, "version": model.version, "state": "READY", "reason": ""}
                return {"models": [state] if self.loaded else []}
            case _:
                return super().ask(operation, name, version, only_ready)

    def counts(self) -> dict[str, dict[str, ReplicaCounts]]:
        """See `DataPlane`. What the engine answered, the gateway knows."""
        model = self._config.model
        work = Work(engine=self._busy, queued=self.load.waiting, slots=self._config.language.slots)
        return {model.name: {model.version: ReplicaCounts(work=work)}}

    def note(self, load: Load) -> None:
        """A reading of the engine's metrics."""
        now = time.monotonic()
        self._busy += (now - self._read) * load.running
        self._read, self.load = now, load


class LanguageApp(HttpApp):
    """Its metrics are those of the engine, under one name whatever engine it is. Told to sleep or to wake, it is not
    ready any more before it answers."""

    def __init__(self, plane: LanguagePlane) -> None:
        super().__init__(plane)
        self._of = plane
        self.copies: Copies | None = None

    def handle(self, exchange: Exchange) -> None:
        if self.copies is not None and self.copies.take(exchange):
            return
        turned = {f"{PLATFORM}sleep": True, f"{PLATFORM}wake": False}.get(exchange.path)
        if turned is not None and exchange.method == "POST" and self._of.answers is not None:
            self._of.resting = turned
            self._of.turned.set()
            exchange.answer(200, b"{}")
        elif exchange.path == "/metrics":
            told = metrics.render(self._of).decode()
            for name, kind, text, field in METRICS:
                told += f"# HELP {name} {text}\n# TYPE {name} {kind}\n{name} {getattr(self._of.load, field)}\n"
            exchange.answer(200, told.encode(), (("content-type", metrics.CONTENT_TYPE),))
        else:
            super().handle(exchange)


class LanguageReplica:
    """One running copy of a revision, inside the current event loop."""

    def __init__(self, config: LanguageConfig, file: Path) -> None:
        self._config, self._file = config, file
        self._seen: int = 0
        self._adapters: dict[str, str] = {}
        self._leaving: dict[str, float] = {}
        self.plane = LanguagePlane(config)
        self._app = app = LanguageApp(self.plane)
        tls = ServerTls(config.http.tls) if config.http.tls else None
        self._listeners = [Listener(app.handle, config.http, config.runtime, tls)]
        if config.health is not None:
            self._listeners.append(Listener(app.handle_health, config.health, config.runtime))
        self._server: EngineServer | None = None
        self._front: Front | None = None

    async def start(self) -> None:
        """Listen, start the engine, replay the golden examples. Raises ArgosyError where one of it fails."""
        config = self._config
        for each in self._listeners:
            await each.start()
        model = config.model
        digest = model.digest if model.exact else ""
        package = await asyncio.to_thread(open_package, Path(model.package), trusted=model.trusted, digest=digest)
        self.plane.package, engine = package, engine_of(package.manifest.engine)
        LOG.info("%s of replica %s will listen on %s", engine.name, config.replica, config.engine)
        work, log = Path(config.engine.path).parent, Path(config.log)
        if config.front is not None:
            self._front = Front(config.front, config.engine.path, log, config.envoy)
            await asyncio.to_thread(self._front.wait)
        self._server = server = EngineServer(engine, setup(config, package), work, log)
        await asyncio.to_thread(server.wait, config.runtime.start_timeout)
        self._adapters = dict(config.adapters)
        await asyncio.to_thread(self._check, server, package)
        self._tell_adapters()
        if self.plane.answers is not None:
            self._app.copies = Copies(self.plane.answers, server.ask.send)
        self.plane.loaded = True

    def _check(self, server: EngineServer, package: Package) -> None:
        replay(server, package)
        for ref, folder in self._adapters.items():
            replay(server, open_package(Path(folder)), ref)

    def _tell_adapters(self) -> None:
        told = [ref for ref in self._adapters if ref not in self._leaving]
        say(Path(self._config.engine.path).with_name(ADAPTERS), msgspec.json.encode(told))

    def _adapt(self, server: EngineServer) -> None:
        """Load adapters that the configuration names by now, and check them: then only are they told of, and the
        gateway leads to them. Those that it names no longer are told of no more, and unloaded later."""
        now, stamp = time.monotonic(), self._file.stat().st_mtime_ns
        if stamp != self._seen:
            wanted, self._seen = read(self._file).adapters, stamp
            due = now + self._config.runtime.drain_timeout
            self._leaving = {ref: self._leaving.get(ref, due) for ref in self._adapters if ref not in wanted}
            self._tell_adapters()
            for ref in wanted.keys() - self._adapters.keys():
                try:
                    self._load(server, ref, wanted[ref])
                except (ArgosyError, OSError) as error:
                    LOG.error("adapter %s does not take part: %s", ref, error)
                    if isinstance(error, Unavailable):
                        self._seen = 0
                self._tell_adapters()
        for ref in [ref for ref, due in self._leaving.items() if due <= now]:
            del self._leaving[ref], self._adapters[ref]
            server.ask.load_adapter(ref, None)
            LOG.info("adapter %s is unloaded", ref)

    def _load(self, server: EngineServer, ref: str, folder: str) -> None:
        package = open_package(Path(folder))
        into = Path(self._config.engine.path).parent / "adapters" / quote(ref)  # which its sandbox lets it read
        shutil.copytree(package.weights, into, dirs_exist_ok=True)
        server.ask.load_adapter(ref, into)
        try:
            replay(server, package, ref, busy=True)
        except ArgosyError:
            server.ask.load_adapter(ref, None)
            raise
        self._adapters[ref] = folder
        LOG.info("adapter %s is loaded and checked", ref)

    async def watch(self) -> None:
        """Until the engine ends, or makes no progress for `runtime.hang_timeout` although it is asked to: then raises
        Internal."""
        server, timeout = self._server, self._config.runtime.hang_timeout
        assert server is not None
        progress, since = Load(), time.monotonic()
        loading: asyncio.Task[None] | None = None
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK):
                    await self.plane.turned.wait()
            self.plane.turned.clear()
            await self._turn(server)
            if not server.engine.numbers and not self.plane.asleep and (loading is None or loading.done()):
                loading = asyncio.create_task(asyncio.to_thread(self._adapt, server))
            now = time.monotonic()
            if server.process.ended():
                raise Internal(server.reason())
            if self._front is not None and self._front.process.ended():
                raise Internal(self._front.reason())
            try:
                load = await asyncio.to_thread(server.load, min(timeout, 10.0))
                self.plane.note(load)
                if not load.busy or load.steps != progress.steps:
                    progress, since = load, time.monotonic()
            except Unavailable:
                if server.process.ended():
                    continue
            if now - since > timeout:
                self.plane.dead = (
                    f"{server.engine.name} has made no progress for {timeout:g} s although it was asked to"
                )
                raise Internal(self.plane.dead)

    async def _turn(self, server: EngineServer) -> None:
        """Sleep, once what is generated has ended, or wake and replay the golden examples, if told to."""
        plane, began = self.plane, time.monotonic()
        if (resting := plane.resting) == plane.asleep:
            return
        plane.asleep = True  # until the engine is awake and checked, whatever is told meanwhile
        if resting:
            await asyncio.to_thread(server.drain, self._config.runtime.drain_timeout)
        await asyncio.to_thread(server.turn, asleep=resting)
        if not resting and plane.package is not None:
            await asyncio.to_thread(self._check, server, plane.package)
        plane.asleep = resting
        LOG.info("%s after %.2f s", "asleep" if resting else "awake and checked", time.monotonic() - began)

    async def drain(self) -> None:
        """Be ready no more, wait for the answers that are being generated, and end the engine."""
        self.plane.draining = True
        if self._server is not None:
            if self.plane.loaded and not self.plane.dead:
                await asyncio.to_thread(self._server.drain, self._config.runtime.drain_timeout)
            await asyncio.to_thread(self._server.end)
        if self._front is not None:
            await asyncio.to_thread(self._front.end)
        for each in self._listeners:
            await each.stop(1.0)
        self.plane.offload.close()


async def serve(file: Path) -> None:
    """Run the replica of a configuration file until SIGTERM, or until its engine fails: then raises the reason."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    replica = LanguageReplica(read(file), file)
    stopped = asyncio.ensure_future(stop.wait())

    async def run() -> None:
        await replica.start()
        await replica.watch()

    running = asyncio.ensure_future(run())
    try:
        await asyncio.wait((stopped, running), return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
    finally:
        for each in (stopped, running):
            each.cancel()
        await replica.drain()


def main(arguments: list[str]) -> int:
    """`python -m argosy.language CONFIG.json`: exit status 0 after a drain, else the error's, with its reason last."""
    crash.tell()
    sandbox.hide()
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel("WARNING")
    try:
        if len(arguments) != 1:
            raise SystemExit("usage: python -m argosy.language CONFIG.json")
        asyncio.run(serve(Path(arguments[0])))
    except ArgosyError as error:
        print(f"error: {error.message}", file=sys.stderr, flush=True)
        return error.exit
    return 0
