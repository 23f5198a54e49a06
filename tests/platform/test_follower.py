"""Gateways that run elsewhere: they route as the controller says, are waited for, and go on without it."""

from collections.abc import Iterator

import pytest

from argosy.platform import leftovers
from argosy.spec.settings import Home
from argosy.store.store import Store
from tests.platform.gateways import Gateways, RemoteGateway, gateways
from tests.platform.packages import push
from tests.platform.up import Up, home, started, store, until

__all__ = ["home", "store"]


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
    return found.get("key") or ""


def answers(gateway: RemoteGateway, key: str) -> float:
    found = gateway.ask(key)
    assert found.status_code == 200, found.text
    return found.json()["outputs"][0]["data"][0]


def counted(platform: Up) -> float:
    """Requests that were answered, as the platform has it."""
    name = 'argosy_gateway_requests_total{code="2xx",endpoint="digits"'
    lines = platform.ask("GET", "/metrics").text.splitlines()
    return sum(float(each.split()[-1]) for each in lines if each.startswith(name))


def test_they_route_as_the_controller_says_and_are_counted_together(home: Home, start, far: Gateways):
    platform = start().ready()
    one, two = (each.confirmed() for each in far.begin(platform, "one", "two") if deploy(platform) or True)
    key = platform.call("POST", "/v1/keys", {"name": "k", "scopes": ["*"]})["key"]
    until(lambda: {one.ask(key).status_code, two.ask(key).status_code} == {200})
    assert not leftovers.gateways(home)
    deploy(platform, 2)
    assert [answers(one, key), answers(two, key)] == [5.0, 5.0]
    before = until(lambda: counted(platform))
    for each in [one, two] * 5:
        answers(each, key)
    until(lambda: counted(platform) == before + 10)
    assert one.stop() == 0
    assert [each["name"] for each in platform.call("GET", "/v1/gateways")] == ["two"]
    assert platform.stop() == 0
