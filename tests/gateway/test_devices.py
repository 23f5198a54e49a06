"""Devices through a real Envoy: to the controller's socket, with what they show themselves, and no key of ours."""

import msgspec
import pytest

from argosy.edge.wire import PREFIX, SESSION
from argosy.gateway import keys
from argosy.gateway.gateway import Gateway
from tests.gateway.kit import KEY, http, one


@pytest.fixture
async def platform(replica, config):
    """Who answers devices, and the gateway that knows of him."""
    there = await replica("devices")
    gateway = Gateway(msgspec.structs.replace(config, devices=there.path))
    yield there, gateway
    await gateway.stop(0.5)


async def test_devices_reach_the_controller_and_nothing_else_does(platform, replica):
    there, gateway = platform
    a = await replica("a")
    await gateway.start([one(a)], [])
    shown = {SESSION: "a:1:2:3", "authorization": f"Bearer {KEY}", "x-argosy-key-id": "one"}
    async with await http(gateway) as client:
        for path in ("/session", "/desired?after=0&wait=1", "/blobs/" + "0" * 64):
            answer = await client.get(PREFIX + path, headers=shown)
            assert answer.status_code == 200
        for path in ("/edge/v2/session", "/edge/v1", "/edge"):
            assert (await client.get(path, headers=shown)).status_code == 404
        assert (await client.get("/edge/v1/%2e%2e/%2e%2e/v2/models/digits", headers=shown)).status_code == 401
    assert [each.path for each in there.seen] == [
        PREFIX + path for path in ("/session", "/desired?after=0&wait=1", "/blobs/" + "0" * 64)
    ]
    assert {each.headers[SESSION] for each in there.seen} == {"a:1:2:3"}
    for each in there.seen:
        assert not {"authorization", "x-argosy-key-id"} & set(each.headers)
    assert a.seen == []


async def test_without_a_socket_devices_find_nothing(gateway, replica):
    await gateway.start([one(await replica("a"))], [])
    async with await http(gateway) as client:
        assert (await client.post(f"{PREFIX}/challenge")).status_code == 404


async def test_an_address_asks_so_often_and_no_more(platform, replica, monkeypatch):
    there, gateway = platform
    monkeypatch.setattr(keys, "DEVICE_RATE", 5)
    await gateway.start([one(await replica("a"))], [])
    async with await http(gateway) as client:
        answers = [await client.get(f"{PREFIX}/desired") for _ in range(60)]
    refused = [each for each in answers if each.status_code == 429]
    assert len(there.seen) + len(refused) == 60
    assert refused
    assert there.seen
    assert refused[0].headers["retry-after"] == "1"
