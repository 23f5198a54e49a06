"""`/v1/models` and `/v1/aliases`: what the registry knows."""

import asyncio

import msgspec

from argosy.control.route import Call, Route
from argosy.store.version import ModelSummary, Version


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model: its versions, oldest first, and alias → number."""

    name: str
    aliases: dict[str, int]
    versions: list[Version]


class Alias(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Let `name@alias` point at version `version`."""

    name: str
    alias: str
    version: int


async def every(call: Call) -> list[ModelSummary]:
    """Every model, by name."""
    return await asyncio.to_thread(call.services.store.registry.models)


async def get(call: Call) -> Model:
    """One model with its versions."""
    registry, name = call.services.store.registry, call.path["name"]
    versions = await asyncio.to_thread(registry.versions, name)
    return Model(name=name, versions=versions, aliases=await asyncio.to_thread(registry.aliases, name))


async def alias(call: Call) -> Version:
    """Move an alias. Endpoints keep the version that they were declared with."""
    wanted = call.body
    assert isinstance(wanted, Alias)
    registry = call.services.store.registry
    return await asyncio.to_thread(registry.set_alias, wanted.name, wanted.alias, wanted.version)


ROUTES = (
    Route(method="GET", path="/v1/models", handler=every, summary="Models", answer=list[ModelSummary]),
    Route(method="GET", path="/v1/models/{name}", handler=get, summary="One model", answer=Model),
    Route(method="POST", path="/v1/aliases", handler=alias, summary="Move an alias", body=Alias, answer=Version),
)
