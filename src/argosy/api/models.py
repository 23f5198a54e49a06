"""`/v1/models` and `/v1/aliases`: what the registry knows."""

import asyncio

import msgspec

from argosy.api.route import Call, Route
from argosy.control.follow import follow
from argosy.store.ledger import Cause
from argosy.store.version import ModelSummary, Moved, Version


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model: its versions, oldest first, and alias → number."""

    name: str
    aliases: dict[str, int]
    versions: list[Version]


class Alias(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Let `name@alias` point at version `version`. `actor` and `reason` go into the ledger."""

    name: str
    alias: str
    version: int
    actor: str = ""
    reason: str = ""


async def every(call: Call) -> list[ModelSummary]:
    """Every model, by name."""
    return await asyncio.to_thread(call.services.store.registry.models)


async def get(call: Call) -> Model:
    """One model with its versions."""
    registry, name = call.services.store.registry, call.path["name"]
    versions = await asyncio.to_thread(registry.versions, name)
    return Model(name=name, versions=versions, aliases=await asyncio.to_thread(registry.aliases, name))


class AliasMoved(Moved, frozen=True, kw_only=True):
    """Where an alias points now, and the `endpoints` that follow it and were declared anew."""

    endpoints: tuple[str, ...] = ()


async def alias(call: Call) -> AliasMoved:
    """Move an alias. Endpoints that follow it are declared anew; the others keep their version. Raises NotFound;
    Conflict where it would move back, and the settings forbid that."""
    services, wanted = call.services, call.body
    assert isinstance(wanted, Alias)
    cause = Cause(actor=wanted.actor or "unknown", reason=wanted.reason)
    move = services.store.registry.set_alias
    moved = await asyncio.to_thread(move, wanted.name, wanted.alias, wanted.version, cause)
    if again := await asyncio.to_thread(follow, services.state, services.store.registry):
        services.controller.wake()
    return AliasMoved(**msgspec.structs.asdict(moved), endpoints=tuple(again))


ROUTES = (
    Route(method="GET", path="/v1/models", handler=every, summary="Models", answer=list[ModelSummary]),
    Route(method="GET", path="/v1/models/{name}", handler=get, summary="One model", answer=Model),
    Route(method="POST", path="/v1/aliases", handler=alias, summary="Move an alias", body=Alias, answer=AliasMoved),
)
