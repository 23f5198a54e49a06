"""Gateways that run elsewhere: they route as the controller says, are waited for, and go on without it."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack

import httpx
import msgspec
import pytest

from argosy.control.leases import GatewaySnapshot
from argosy.platform import leftovers
from argosy.platform.follower import Follower, moved
from argosy.spec.settings import Home, Settings
from argosy.store.store import Store
from tests.language.packages import FAKE, push_language
from tests.platform.gateways import Gateways, RemoteGateway, gateways
from tests.platform.packages import push
from tests.platform.streams import CHAT, Stream
from tests.platform.up import Load, Up, home, settings, started, store, until
from tests.ports import free

__all__ = ["home", "settings", "store"]


@pytest.fixture
def start(home: Home, store: Store):
    home.config.write_text("control: {port: 0}\ngateway: {port: 0, place: remote}\nreplicas: {network: tls}\n")
    push(store, home.root / "p1", 3.0)
    push(store, home.root / "p2", 5.0)
    with started(home) as begin:
        yield begin


@pytest.fixture
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateways]:
    with gateways(tmp_path_factory.mktemp("f")) as found:
        yield found


def deploy(platform: Up, version: int = 1, **more: object) -> str:
    """The key."""
    declared = {"model": f"digits:{version}", "replicas": 2, **more}
    found = platform.call("PUT", "/v1/endpoints/digits", declared, wait=60)
    assert found["endpoint"]["state"] == "ready", found
    until(lambda: platform.call("GET", "/v1/status")["error"] == "")  # every gateway has confirmed it
    return found.get("key") or ""


def deploy_scaled(platform: Up) -> str:
    """The key of an endpoint that sleeps."""
    scaled = {"min": 0, "max": 1, "idle": 2, "patience": 2, "window": 5, "history": 10}
    found = platform.call("PUT", "/v1/endpoints/digits", {"model": "digits:1", "replicas": scaled}, wait=10)
    return found["key"]


def answers(gateway: RemoteGateway, key: str) -> float:
    found = gateway.ask(key)
    assert found.status_code == 200, found.text
    return found.json()["outputs"][0]["data"][0]


def counted(platform: Up) -> float:
    """Requests that version 2 has answered, as the platform has it."""
    name = 'argosy_gateway_requests_total{code="2xx",endpoint="digits"'
    lines = platform.ask("GET", "/metrics").text.splitlines()
    return sum(float(each.split()[-1]) for each in lines if each.startswith(name) and 'version="digits:2"' in each)


@pytest.mark.slow
def test_a_language_model_streams_through_one(
    home: Home, start, store: Store, far: Gateways, monkeypatch: pytest.MonkeyPatch
):
    """Its engine is reached by TLS. Limits of tokens are refused: nobody reads the access log there."""
    for name, value in FAKE.items():
        monkeypatch.setenv(name, value)
    declared = {"model": push_language(store, home.root / "m"), "public": True}
    platform = start().ready()
    (one,) = far.begin(platform, "one")
    one.confirmed()
    found = platform.call("PUT", "/v1/endpoints/m", declared, wait=60)
    assert found["endpoint"]["state"] == "ready", found
    url = f"http://127.0.0.1:{one.port}/v1/chat/completions"
    until(lambda: httpx.post(url, json=CHAT, timeout=60, trust_env=False).status_code == 200)
    assert Stream(url).tokens() == 16
    refused = platform.ask("POST", "/v1/keys", json={"name": "k", "scopes": ["m"], "limits": {"tokens_per_minute": 9}})
    assert (refused.status_code, "by the gateway of this machine alone" in refused.text) == (400, True), refused.text


@pytest.mark.slow
def test_they_route_as_the_controller_says_and_are_counted_together(home: Home, start, far: Gateways):
    platform = start().ready()
    one, two = (each.confirmed() for each in far.begin(platform, "one", "two") if deploy(platform) or True)
    key = platform.call("POST", "/v1/keys", {"name": "k", "scopes": ["*"]})["key"]
    until(lambda: {one.ask(key).status_code, two.ask(key).status_code} == {200})
    assert not leftovers.gateways(home)
    deploy(platform, 2)
    assert [answers(one, key), answers(two, key)] == [5.0, 5.0]
    for each in [one, two] * 5:
        answers(each, key)
    until(lambda: counted(platform) == 12)
    assert one.stop() == 0
    assert [each["name"] for each in platform.call("GET", "/v1/gateways")] == ["two"]
    assert platform.stop() == 0


@pytest.mark.slow
def test_one_without_rights_is_refused_and_routes_nothing(start, far: Gateways):
    platform = start().ready()
    (stranger,) = far.begin(platform, "stranger", token="wrong")
    until(lambda: "gateway.token" in stranger.out)
    assert stranger.process.poll() is None
    assert not leftovers.gateways(stranger.home)
    assert platform.call("GET", "/v1/gateways") == []
    token = (platform.home.root / "gateway.token").read_text()
    sent = {"authorization": f"Bearer {token}"}
    assert platform.ask("GET", "/v1/gateways", headers=sent).status_code == 401
    assert platform.ask("GET", "/v1/keys", headers=sent).status_code == 401


@pytest.mark.slow
def test_a_request_that_waits_at_a_gateway_elsewhere_wakes_the_endpoint_and_labels_come_through(start, far: Gateways):
    platform = start().ready()
    (one,) = far.begin(platform, "one")
    key = deploy_scaled(platform)
    one.confirmed()
    until(lambda: platform.call("GET", "/v1/replicas") == [])
    found = until(lambda: (answer := one.ask(key)).status_code != 404 and answer)
    assert found.json()["outputs"][0]["data"][0] == 3.0
    labels = {"labels": [{"request_id": found.headers["x-request-id"], "label": 3}]}
    path = one.url.replace("/infer", "/feedback")
    taken = httpx.post(path, json=labels, headers={"authorization": f"Bearer {key}"}, timeout=60)
    assert (taken.status_code, taken.json()["taken"]) == (200, 1)


async def test_an_earlier_controller_is_not_obeyed_not_even_after_a_restart(
    home: Home, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ARGOSY_CONTROL_URL", "http://127.0.0.1:1")

    def taken(follower: Follower, term: int, number: int) -> tuple[int, int]:
        follower._take(msgspec.to_builtins(GatewaySnapshot(term=term, number=number)))
        return follower._snapshot.version

    follower = Follower(home, settings, "one", asyncio.Event())
    assert [taken(follower, *each) for each in [(3, 2), (3, 1), (2, 9), (4, 1)]] == [(3, 2), (3, 2), (3, 2), (4, 1)]
    again = Follower(home, settings, "one", asyncio.Event())
    assert [taken(again, *each) for each in [(3, 9), (4, 1)]] == [(0, 0), (4, 1)]


def test_identities_look_for_their_files_where_the_gateway_has_them():
    there = {"upstreams": [{"http": {"tls": {"name": "spiffe://p/e", "files": "/far"}}, "files": {"a": "b"}}]}
    here = {"upstreams": [{"http": {"tls": {"name": "spiffe://p/e", "files": "/near"}}, "files": {"a": "b"}}]}
    assert moved(there, {"/far": "/near"}) == here


@pytest.mark.slow
async def test_three_gateways_under_load_through_rollouts_kills_and_another_leader(home: Home, start, far: Gateways):
    home.config.write_text(home.config.read_text().replace("control: {port: 0}", f"control: {{port: {free()}}}"))
    platform = await asyncio.to_thread(start().ready)
    key = await asyncio.to_thread(deploy, platform)
    three = far.begin(platform, "one", "two", "three")
    for each in three:
        await asyncio.to_thread(each.confirmed)
    one, two, _ = three
    async with AsyncExitStack() as stack:
        loads = [await stack.enter_async_context(Load(each.url, key, clients=2)) for each in three]

        async def more() -> None:
            await asyncio.gather(*(each.more(30) for each in loads))

        await more()
        for version in (2, 1, 2):
            await asyncio.to_thread(deploy, platform, version)
            await more()
        one.kill()
        await more()
        await asyncio.to_thread(until, lambda: one.status()["heard"] > 2)
        await asyncio.to_thread(one.start)
        await asyncio.to_thread(until, lambda: (now := one.status())["heard"] < 2 and now["confirmed"])
        await asyncio.to_thread(deploy, platform, 1)
        await more()
        two.process.send_signal(signal.SIGSTOP)
        stopped = asyncio.create_task(asyncio.to_thread(deploy, platform, replicas=1))  # one drains at once
        await asyncio.to_thread(until, lambda: "gateway 'two'" in platform.call("GET", "/v1/status")["error"])
        two.process.send_signal(signal.SIGCONT)
        await stopped
        await more()
        platform.kill()
        await more()
        platform = await asyncio.to_thread(start().ready)
        for each in three:
            each.platform = platform
        await asyncio.to_thread(deploy, platform, 1)
        for each in three:
            await asyncio.to_thread(each.confirmed)
        await more()
    assert [each.bad for each in loads] == [[], [], []]
    assert all(each.answers == {3.0, 5.0} for each in loads)
    await asyncio.to_thread(until, lambda: len(platform.call("GET", "/v1/replicas")) == 2)
    assert await asyncio.to_thread(platform.stop) == 0
