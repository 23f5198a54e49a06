"""`/v1/fleets/{fleet}/deployments`: what is taken, what is refused, what is answered."""

import asyncio
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from argosy.api import deployments as api
from argosy.api.deployments import NewDeployment
from argosy.api.route import Why
from argosy.spec.errors import InvalidArgument, NotFound
from argosy.spec.settings import Settings
from argosy.spec.strict import decode
from argosy.store import ledger
from tests.fleets.conftest import Cars


def services(cars: Cars) -> Any:
    return SimpleNamespace(store=cars.store, deployments=cars.deployments, settings=Settings())


def body(**fields: object) -> NewDeployment:
    return msgspec.convert(
        {"fleet": "cars", "model": "digits:1", "actor": "ann", "reason": "why not"} | fields, NewDeployment
    )


def test_a_deployment_begins_and_is_read(cars: Cars) -> None:
    async def act() -> None:
        cars.enrol("a", "b")
        made = await api.begin(services(cars), "cars", body(waves=[{"devices": 1}, {}]))
        assert (made.number, made.ref, made.state, made.wave, made.actor) == (1, "digits:1", "running", 1, "ann")
        await cars.passes(25)
        (one,) = await api.every(services(cars), "cars")
        assert one == await api.one(services(cars), "cars", "1")
        assert one.devices["assigned"] == 1
        assert one.states == ({"offered": 1}, {})
        paused = await api.order(services(cars), "cars", "1", "pause", Why(actor="bob", reason="wait"))
        assert (paused.state, paused.reason) == ("paused", "on demand")
        with cars.store.database.read() as connection:
            found = [(each.event, each.actor, each.reason) for each in ledger.entries(connection, "fleet/cars")]
        assert found[-2:] == [("deploy", "ann", "why not"), ("deployment", "bob", "wait")]

    asyncio.run(act())


def test_what_is_refused_takes_no_number(cars: Cars) -> None:
    async def act() -> None:
        with pytest.raises(InvalidArgument, match="the body is for fleet 'cars', the path says 'boats'"):
            await api.begin(services(cars), "boats", body())
        with pytest.raises(NotFound, match="there is no fleet 'boats'"):
            await api.begin(services(cars), "boats", body(fleet="boats"))
        with pytest.raises(NotFound, match="digits"):
            await api.begin(services(cars), "cars", body(model="digits:9"))
        cars.enrol("odd", machine="riscv64")
        with pytest.raises(InvalidArgument, match="none of the devices that it is for can run it"):
            await api.begin(services(cars), "cars", body())
        with pytest.raises(NotFound, match="takes the orders pause, resume, abort, not 'promote'"):
            await api.order(services(cars), "cars", "1", "promote", Why())
        for number in ("", "x", "-1", "1e3", "9" * 12):
            with pytest.raises(InvalidArgument, match="is no number of a deployment"):
                await api.one(services(cars), "cars", number)
        with pytest.raises(NotFound, match="has no deployment 1"):
            await api.one(services(cars), "cars", "1")
        assert cars.store.fleets.get("cars").last == 0
        assert await api.every(services(cars), "cars") == []

    asyncio.run(act())


@pytest.mark.parametrize("text", ['{"fleet": "cars", "model": "m", "wave": 1}', '{"fleet": "cars"}', "[]", "{"])
def test_bodies_that_are_none(text: str) -> None:
    with pytest.raises(InvalidArgument, match="the body"):
        decode(text, NewDeployment, "the body")
