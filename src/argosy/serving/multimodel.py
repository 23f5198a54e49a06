"""SageMaker's multi-model endpoints: models are loaded, listed, asked and unloaded by requests."""

import asyncio
import re
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
import psutil

from argosy.process.cores import memory
from argosy.serving.config import ModelConfig
from argosy.serving.contract_app import ContractApp
from argosy.serving.contracts import Binding
from argosy.serving.dataplane import DataPlane
from argosy.serving.exchange import Exchange
from argosy.serving.http import refuse
from argosy.serving.server import load_model
from argosy.spec.errors import Conflict, InvalidArgument, NotFound, OutOfMemory
from argosy.spec.strict import decode

GROWTH = 2
"""Times its files: what a loaded model may take."""
Fetch = Callable[[str, str], tuple[ModelConfig, Callable[[], None]]]
"""Name and path → the model to load, and what deletes its temporary files. Called in a thread; raises ArgosyError."""
_PATH = re.compile(r"/models(?:/([^/]+)(/invoke)?)?/?")


class _Load(msgspec.Struct, forbid_unknown_fields=True):
    model_name: str
    url: str


class _Held(msgspec.Struct):
    url: str
    release: Callable[[], None]


class MultiModelApp(ContractApp):
    """SageMaker's contract for an endpoint of many models. `fetch` finds what lies at the path of a model."""

    def __init__(self, plane: DataPlane, binding: Binding, fetch: Fetch) -> None:
        super().__init__(plane, binding)
        self._fetch = fetch
        self._held: dict[str, _Held] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def ready(self) -> bool:
        """Whether requests are taken; a server without a model is ready to load one."""
        return not self._plane.draining

    def route(self, exchange: Exchange) -> bool:
        """Answer requests about models, then those of every endpoint."""
        found = _PATH.fullmatch(exchange.path)
        if found is None:
            return super().route(exchange)
        name, verb = unquote(found[1] or ""), found[2] or ""
        match exchange.method, bool(name), verb:
            case "POST", False, "":
                self._begin(exchange, self._load(exchange, decode(exchange.body, _Load, "the request")))
            case "GET", False, "":
                exchange.answer(200, msgspec.json.encode({"models": [self._shown(one) for one in sorted(self._held)]}))
            case "GET", True, "":
                exchange.answer(200, msgspec.json.encode(self._shown(name)))
            case "DELETE", True, "":
                self._begin(exchange, self._unload(exchange, name))
            case "POST", True, "/invoke":
                self._shown(name)
                self.invoke(exchange, self._plane.model(name))
            case _:
                raise NotFound(f"there is no {exchange.method} {exchange.path[:200]} at a multi-model endpoint")
        return True

    def _begin(self, exchange: Exchange, work: Coroutine[Any, Any, None]) -> None:
        async def answer() -> None:
            try:
                await work
            except Exception as error:
                refuse(exchange, error)

        task = asyncio.ensure_future(answer())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _load(self, exchange: Exchange, wanted: _Load) -> None:
        name = wanted.model_name
        if not name or "/" in name:
            raise InvalidArgument(f"model_name is '{name[:80]}'; it must be a name without '/'")
        if name in self._held:
            raise Conflict(f"model '{name[:80]}' is loaded already")
        held = self._held[name] = _Held(wanted.url, lambda: None)
        self._plane.expect(name)
        try:
            _check_memory(Path(wanted.url))
            config, held.release = await asyncio.to_thread(self._fetch, name, wanted.url)
            self._plane.add(await load_model(config, self.binding.runtime))
        except BaseException as error:
            self._plane.remove(name)
            del self._held[name]
            held.release()
            if isinstance(error, MemoryError):
                raise OutOfMemory(f"no memory for model '{name[:80]}': unload another") from None
            raise
        exchange.answer(200, b"{}")

    async def _unload(self, exchange: Exchange, name: str) -> None:
        self._plane.model(name)
        held = self._held.pop(name)
        for model in self._plane.remove(name):
            await model.close()
        held.release()
        exchange.answer(200, b"{}")

    def _shown(self, name: str) -> dict[str, str]:
        if name not in self._held:
            raise NotFound(f"model '{name[:80]}' is not loaded")
        return {"modelName": name, "modelUrl": self._held[name].url}


def _check_memory(place: Path) -> None:
    """Raise OutOfMemory where a model of this size would not fit beside what is loaded."""
    files = [file for file in (place.rglob("*") if place.is_dir() else [place]) if file.is_file()]
    wanted = GROWTH * sum(file.stat().st_size for file in files)
    free = memory() - psutil.Process().memory_info().rss
    if wanted > min(free, psutil.virtual_memory().available):
        raise OutOfMemory(f"the model at {place} may take {wanted} bytes, and {max(free, 0)} are left: unload another")
