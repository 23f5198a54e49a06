"""`/v1/keys`: make, list, revoke. When an answer is given, the gateway already knows."""

import asyncio
from functools import partial

import msgspec

from argosy.api.route import Route, Services
from argosy.control.admission import check_counted
from argosy.spec.language import TokenLimits
from argosy.store.keys import EVERYTHING


class NewKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key to make: the endpoints it may reach ("*": all), requests a second and how many may come at once, and
    limits of the tokens that it may use."""

    name: str
    scopes: tuple[str, ...] = (EVERYTHING,)
    rate: float | None = None
    burst: int | None = None
    limits: TokenLimits | None = None


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A key without its hash."""

    id: str
    name: str
    scopes: tuple[str, ...]
    rate: float | None = None
    burst: int | None = None
    limits: TokenLimits | None = None
    created: str
    revoked: str | None = None


class CreatedKey(Key, frozen=True, kw_only=True):
    """A new key with its text, which is shown this once."""

    key: str


async def every(services: Services) -> list[Key]:
    """Every key there ever was, oldest first."""
    records = await asyncio.to_thread(services.store.keys.list)
    return msgspec.convert(records, list[Key], from_attributes=True)


async def create(services: Services, body: NewKey) -> CreatedKey:
    """Make a key."""
    check_counted(body.limits, services.settings.gateway)
    make = partial(services.store.keys.create, body.name, body.scopes, body.rate, body.burst, body.limits)
    record, text = await asyncio.to_thread(make)
    await services.controller.settled()
    shown = msgspec.convert(record, Key, from_attributes=True)
    return CreatedKey(**msgspec.structs.asdict(shown), key=text)


async def revoke(services: Services, id: str) -> Key:
    """End a key for good."""
    record = await asyncio.to_thread(services.store.keys.revoke, id)
    await services.controller.settled()
    return msgspec.convert(record, Key, from_attributes=True)


ROUTES = (
    Route("GET", "/v1/keys", every, "Keys"),
    Route("POST", "/v1/keys", create, "Make a key", status=201),
    Route("DELETE", "/v1/keys/{id}", revoke, "Revoke a key"),
)
