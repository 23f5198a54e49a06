"""`/v1/keys`: make, list, revoke. When an answer is given, the gateway already knows."""

import asyncio

import msgspec

from argosy.api.route import Call, Route
from argosy.store.key import EVERYTHING, KeyRecord


class NewKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key to make: the endpoints it may reach ("*": all), requests a second and how many may come at once."""

    name: str
    scopes: tuple[str, ...] = (EVERYTHING,)
    rate: float | None = None
    burst: int | None = None


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it may be told."""

    id: str
    name: str
    scopes: tuple[str, ...]
    rate: float | None = None
    burst: int | None = None
    created: str
    revoked: str | None = None


class CreatedKey(Key, frozen=True, kw_only=True):
    """A new key with its text, which is shown this once."""

    key: str


def _told(record: KeyRecord) -> dict[str, object]:
    return {name: value for name, value in msgspec.structs.asdict(record).items() if name != "hash"}


async def every(call: Call) -> list[Key]:
    """Every key there ever was, oldest first."""
    records = await asyncio.to_thread(call.services.store.keys.list)
    return [msgspec.convert(_told(record), Key) for record in records]


async def create(call: Call) -> CreatedKey:
    """Make a key."""
    wanted = call.body
    assert isinstance(wanted, NewKey)
    keys = call.services.store.keys
    record, text = await asyncio.to_thread(keys.create, wanted.name, wanted.scopes, wanted.rate, wanted.burst)
    await call.services.controller.settled()
    return msgspec.convert(_told(record) | {"key": text}, CreatedKey)


async def revoke(call: Call) -> Key:
    """End a key for good."""
    record = await asyncio.to_thread(call.services.store.keys.revoke, call.path["id"])
    await call.services.controller.settled()
    return msgspec.convert(_told(record), Key)


ROUTES = (
    Route(method="GET", path="/v1/keys", handler=every, summary="Keys", answer=list[Key]),
    Route(
        method="POST", path="/v1/keys", handler=create, summary="Make a key", body=NewKey, answer=CreatedKey, status=201
    ),
    Route(method="DELETE", path="/v1/keys/{id}", handler=revoke, summary="Revoke a key", answer=Key),
)
