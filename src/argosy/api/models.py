"""`/v1/models` and `/v1/aliases`: what the registry knows."""

import asyncio

import msgspec

from argosy.api.route import Route, Services, Why
from argosy.control.follow import follow
from argosy.store.version import ModelSummary, Moved, Version


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model: its versions, oldest first, and alias → number."""

    name: str
    aliases: dict[str, int]
    versions: list[Version]


class Alias(Why, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Let `name@alias` point at version `version`."""

    name: str
    alias: str
    version: int


class AliasMoved(Moved, frozen=True, kw_only=True):
    """Where an alias points now, and the `endpoints` that follow it and were declared anew."""

    endpoints: tuple[str, ...] = ()


async def every(services: Services) -> list[ModelSummary]:
    """Every model, by name."""
    return await asyncio.to_thread(services.store.registry.models)


async def get(services: Services, name: str) -> Model:
    """One model with its versions."""
    versions = await asyncio.to_thread(services.store.registry.versions, name)
    aliases = sorted((alias, version.number) for version in versions for alias in version.aliases)
    return Model(name=name, versions=versions, aliases=dict(aliases))


async def alias(services: Services, body: Alias) -> AliasMoved:
    """Move an alias. Endpoints that follow it are declared anew; the others keep their version. Raises NotFound;
    Conflict where it would move back, and the settings forbid that."""
    move = services.store.registry.set_alias
    moved = await asyncio.to_thread(move, body.name, body.alias, body.version, body.cause)
    if again := await asyncio.to_thread(follow, services.state, services.store.registry):
        services.controller.wake()
    return AliasMoved(**msgspec.structs.asdict(moved), endpoints=tuple(again))


ROUTES = (
    Route("GET", "/v1/models", every, "Models"),
    Route("GET", "/v1/models/{name}", get, "One model"),
    Route("POST", "/v1/aliases", alias, "Move an alias"),
)
