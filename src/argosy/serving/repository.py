"""The models a replica holds: by name and version, loaded and unloaded while others are served."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from argosy.serving.model import ServedModel, State
from argosy.spec.errors import ArgosyError, NotFound, Unavailable, Unsupported

Loader = Callable[[str], Awaitable[ServedModel]]
"""Finds a model by name, loads and checks it. Raises NotFound for one that does not exist."""


class IndexEntry(msgspec.Struct, frozen=True):
    """A line of the repository index."""

    name: str
    version: str
    state: State
    reason: str = ""


class Repository:
    """Served models. With a `loader`, clients may load and unload; without one the models are fixed."""

    def __init__(self, loader: Loader | None = None) -> None:
        self._loader = loader
        self._models: dict[str, dict[str, ServedModel]] = {}
        self._problems: dict[str, tuple[State, str]] = {}
        self.draining = False

    def expect(self, name: str) -> None:
        """Say that a model is on its way: it is answered for with 503 rather than 404."""
        self._problems[name] = ("LOADING", "")

    def add(self, model: ServedModel) -> None:
        """Serve this model beside other versions of it."""
        self._models.setdefault(model.name, {})[model.version] = model
        self._problems.pop(model.name, None)

    def get(self, name: str, version: str = "") -> ServedModel:
        """The model, in its highest version unless one is named. Raises NotFound."""
        versions = self._models.get(name)
        if versions is None:
            problem = self._problems.get(name)
            if problem is not None and problem[0] == "LOADING":
                raise Unavailable(f"model '{name}' is loading", retry_after=1)
            raise NotFound(f"unknown model '{name[:80]}'; this server has {', '.join(sorted(self._models)) or 'none'}")
        if not version:
            return versions[max(versions, key=_order)]
        if version not in versions:
            raise NotFound(f"model '{name}' has no version '{version[:80]}'; it has {', '.join(versions)}")
        return versions[version]

    def versions(self, name: str) -> list[str]:
        """The versions served under a name, in order."""
        return sorted(self._models.get(name, {}), key=_order)

    def models(self) -> list[ServedModel]:
        """Everything that is served."""
        return [model for versions in self._models.values() for model in versions.values()]

    def index(self) -> list[IndexEntry]:
        """What is served, and what failed to load and why."""
        found = [IndexEntry(model.name, model.version, "READY") for model in self.models()]
        return found + [IndexEntry(name, "", state, reason) for name, (state, reason) in self._problems.items()]

    @property
    def ready(self) -> bool:
        """Whether requests are taken: everything expected is loaded and no shutdown has begun."""
        loading = any(state == "LOADING" for state, _ in self._problems.values())
        return bool(self._models) and not loading and not self.draining

    async def load(self, name: str) -> None:
        """Load or reload a model; a failure leaves what was served. Raises Unsupported where models are fixed."""
        if self._loader is None:
            raise Unsupported("this server serves fixed models: load and unload are not permitted here")
        known = name in self._models
        if not known:
            self.expect(name)
        try:
            model = await self._loader(name)
        except ArgosyError as error:
            self._problems.pop(name, None)
            if not known and not isinstance(error, NotFound):
                self._problems[name] = ("UNAVAILABLE", error.message)
            raise
        old = self._models.pop(name, {})
        self.add(model)
        await _close(old)

    async def unload(self, name: str) -> None:
        """Stop serving a model once its requests are answered. Raises Unsupported, NotFound."""
        if self._loader is None:
            raise Unsupported("this server serves fixed models: load and unload are not permitted here")
        if name not in self._models:
            raise NotFound(f"unknown model '{name[:80]}'")
        await _close(self._models.pop(name))

    async def drain(self, timeout: float) -> None:
        """Take nothing new and wait, at most `timeout` seconds, until what was taken is answered."""
        self.draining = True
        closing = [asyncio.ensure_future(model.close()) for model in self.models()]
        if closing:
            await asyncio.wait(closing, timeout=timeout)


async def _close(models: dict[str, ServedModel]) -> None:
    for model in models.values():
        await model.close()


def _order(version: str) -> tuple[int, str]:
    return (int(version) if version.isdigit() else -1, version)
