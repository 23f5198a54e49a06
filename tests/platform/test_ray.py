"""Endpoints whose replicas run on a Ray cluster: declared as on one machine, and whatever of Ray is lost costs no
request that was not at a replica which went with it."""

import asyncio
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from argosy.process.managed import alive, commands
from argosy.spec.settings import Home
from argosy.store.store import Store
from argosy.targets.tags import scan
from tests.batch import nodes
from tests.language.packages import FAKE, push_language
from tests.platform.packages import push
from tests.platform.streams import CHAT, Stream
from tests.platform.up import Load, Up, started, until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]

BODY = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 1, 1, 1]}]}
CLIENTS = 3


class Place:
    """A platform and the cluster it is set up for."""

    def __init__(self, home: Home, cluster: nodes.Nodes, shared: Path) -> None:
        self.home, self.cluster, self.nodes = home, cluster, Home(shared / "ray")

    def replicas(self) -> list[psutil.Process]:
        """Their processes, on whatever node."""
        return [each.process for each in scan(self.nodes.root) if each.leader]


@pytest.fixture
def environ() -> dict[str, str]:
    """Of the nodes, besides."""
    return {}


@contextmanager
def running(shared: Path, environ: Mapping[str, str]) -> Generator[tuple[nodes.Nodes, Path]]:
    """A head without cores and three nodes with one each."""
    with nodes.running(
        0, 1, 1, 1, log=shared / "log", environ={"ARGOSY_HOME": str(shared), **FAKE, **environ}
    ) as cluster:
        yield cluster, shared


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[nodes.Nodes, Path]]:
    """One for all tests that leave it as it was, and for one that does not, after them."""
    with running(tmp_path_factory.mktemp("n"), {}) as found:
        yield found


@pytest.fixture
def place(
    home: Home,
    store: Store,
    environ: dict[str, str],
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Place]:
    """A cluster, and one version of the model `digits`."""
    push(store, home.root / "p1", 3.0)
    with ExitStack() as stack:
        if environ:
            cluster, shared = stack.enter_context(running(tmp_path_factory.mktemp("n"), environ))
        else:
            cluster, shared = request.getfixturevalue("plain")
        address = f"{{address: '{cluster.address}'}}"
        home.config.write_text(f"control: {{port: 0}}\ngateway: {{port: 0}}\nray: {address}\n")
        yield Place(home, cluster, shared)


@pytest.fixture
def start(place: Place) -> Iterator:
    with started(place.home) as begin:
        yield begin


def deploy(platform: Up, **more: object) -> dict[str, str]:
    declared = {"model": "digits:1", "replicas": 2, "target": "ray", "retries": 0, **more}
    found = platform.call("PUT", "/v1/endpoints/digits", declared, wait=120)
    assert found["endpoint"]["state"] == "ready", found
    until(lambda: len(ready(platform)) == declared["replicas"])  # an endpoint is ready with the first of them
    return found


def ready(platform: Up) -> dict[str, float]:
    """When each replica that serves was started."""
    return {each["id"]: each["started"] for each in platform.call("GET", "/v1/replicas") if each["phase"] == "ready"}


def actors(kind: str) -> list[psutil.Process]:
    """The processes of actors of this class."""
    return [each for each, words in commands() if words and words[0].startswith(f"ray::{kind}")]


def foreman() -> psutil.Process:
    (found,) = actors("Foreman")
    return found


def driver(home: Home) -> psutil.Process:
    (found,) = (
        each
        for each, words in commands()
        if "argosy.targets.ray.driver" in words and each.environ().get("ARGOSY_HOME") == str(home.root)
    )
    return found


def test_the_same_declaration_serves_from_ray_and_leaves_nothing_there(place: Place, start):
    platform = start().ready()
    deployed = deploy(platform, payload={"flush": 1})
    found = platform.call("GET", "/v1/replicas")
    assert all(each["http"]["tls"]["name"].endswith(f"/replica/{each['id']}") for each in found)
    headers = {"authorization": f"Bearer {deployed['key']}"}
    until(lambda: (platform.call("GET", "/v1/status")["recorder"] or {}).get("replicas") == 2)
    assert httpx.post(deployed["url"], json=BODY, headers=headers, timeout=60).json()["outputs"][0]["data"] == [3.0] * 4
    until(lambda: platform.ask("GET", "/metrics").text.count("argosy_loop_seconds_total{") == 2)
    until(lambda: platform.call("GET", "/v1/status")["recorder"]["records"])
    assert len(place.replicas()) == len(actors("PlaceActor")) == 2
    assert len(actors("Foreman")) == 1
    assert platform.stop() == 0
    assert place.replicas() == []
    until(lambda: actors("Foreman") == actors("PlaceActor") == [])


def test_a_language_model_streams_from_ray_and_an_update_cuts_nothing(
    place: Place, store: Store, start, monkeypatch: pytest.MonkeyPatch
):
    """The platform itself has no engine; a replica that is killed takes its engine along."""
    monkeypatch.delenv("ARGOSY_VLLM_PYTHON", raising=False)
    declared = {"model": push_language(store, place.home.root / "m"), "target": "ray", "public": True}
    platform = start().ready()
    url = platform.call("PUT", "/v1/endpoints/m", declared, wait=120)["url"]
    (replica,) = platform.call("GET", "/v1/replicas")
    assert replica["engine"]["tls"]["name"].endswith(f"/replica/{replica['id']}")
    stream = Stream(f"{url}/chat/completions", fake={"tokens": 150, "each": 0.02})
    until(lambda: len(stream.lines) > 2)
    platform.call("PUT", "/v1/endpoints/m", declared | {"language": {"context": 1024}}, wait=120)
    assert stream.tokens() == 150
    until(lambda: len(place.replicas()) == 1)
    (process,) = place.replicas()
    children = process.children()
    assert len(children) == 2
    process.parent().kill()
    until(lambda: not any(alive(each) for each in (process, *children)))
    until(lambda: httpx.post(f"{url}/chat/completions", json=CHAT, timeout=60).status_code == 200)
    assert platform.stop() == 0
    assert place.replicas() == []


async def test_what_is_lost_of_ray_costs_no_request(place: Place, start):
    platform = await asyncio.to_thread(start().ready)
    deployed = await asyncio.to_thread(deploy, platform)
    before = ready(platform)
    async with Load(deployed["url"], deployed["key"], CLIENTS) as load:
        await load.more()
        for lose in (foreman, lambda: driver(place.home)):
            lost = lose()
            lost.kill()
            await load.more(100)
            await asyncio.to_thread(until, lambda lost=lost, lose=lose: _follows(lose, lost))
        platform.kill()
        await load.more(100)
        platform = await asyncio.to_thread(start().ready)
        await asyncio.to_thread(until, lambda: ready(platform))
        await load.more(100)
        assert ready(platform) == before, "they were adopted"
        assert load.bad == []
        declared = {"model": "digits:1", "replicas": 3, "target": "ray", "retries": 0}
        await asyncio.to_thread(platform.call, "PUT", "/v1/endpoints/digits", declared, wait=120)
        await asyncio.to_thread(until, lambda: len(ready(platform)) == 3)
        assert load.bad == []
    await asyncio.to_thread(platform.stop)


def _follows(find, lost: psutil.Process | None) -> bool:
    try:
        return find() != lost
    except (ValueError, psutil.Error):
        return False


async def test_an_actor_and_a_node_that_die_cost_what_was_at_them(place: Place, start):
    platform = await asyncio.to_thread(start().ready)
    deployed = await asyncio.to_thread(deploy, platform, resources={"cpu": 1})  # a node has one: none has two replicas
    async with Load(deployed["url"], deployed["key"], CLIENTS) as load:
        await load.all_answer(2)
        before, (child, *_) = ready(platform), place.replicas()
        child.parent().kill()
        await asyncio.to_thread(until, lambda: not alive(child))
        await asyncio.to_thread(until, lambda: len(ready(platform)) == 2 and ready(platform) != before)
        assert len(load.bad) <= CLIENTS, load.bad
        await load.all_answer(2)
        load.bad.clear()
        before = ready(platform)
        node = next(n for n in (1, 2, 3) if _has(place, n))
        place.cluster.kill(node)
        await asyncio.to_thread(until, lambda: len(ready(platform)) == 2 and ready(platform) != before)
        assert len(load.bad) <= CLIENTS, load.bad
        await load.more()
    await asyncio.to_thread(platform.stop)


def _has(place: Place, node: int) -> bool:
    raylet = psutil.Process(place.cluster.raylets[node])
    return any(each in raylet.children(recursive=True) for each in place.replicas())


@pytest.fixture
def kept(tmp_path: Path, environ: dict[str, str]) -> None:
    """The head keeps what it knows on a disk."""
    (tmp_path / "gcs").mkdir()
    environ |= {"RAY_gcs_storage": "rocksdb", "RAY_gcs_storage_path": str(tmp_path / "gcs")}


@pytest.fixture
def hasty(environ: dict[str, str]) -> None:
    """Nodes end themselves soon when their head is away."""
    environ["RAY_gcs_rpc_server_reconnect_timeout_s"] = "8"


def pending(platform: Up) -> str:
    return platform.call("GET", "/v1/endpoints/digits")["reason"]


@pytest.mark.usefixtures("kept")
async def test_a_head_that_is_away_costs_no_request_and_nothing_once_it_is_back(place: Place, start):
    platform = await asyncio.to_thread(start().ready)
    deployed = await asyncio.to_thread(deploy, platform)
    before = ready(platform)
    async with Load(deployed["url"], deployed["key"], CLIENTS) as load:
        await load.more()
        place.cluster.head()
        declared = {"model": "digits:1", "replicas": 3, "target": "ray", "retries": 0}
        await asyncio.to_thread(platform.call, "PUT", "/v1/endpoints/digits", declared)
        await asyncio.to_thread(until, lambda: "Ray's head is away" in pending(platform))
        await asyncio.to_thread(until, lambda: _follows(lambda: driver(place.home), None))
        driver(place.home).kill()
        platform.kill()
        await load.more(100)
        platform = await asyncio.to_thread(start().ready)
        await asyncio.to_thread(until, lambda: "Ray's head is away" in pending(platform))
        assert ready(platform) == before, "they were adopted without Ray"
        await load.more(300)
        place.cluster.head()
        await asyncio.to_thread(until, lambda: len(ready(platform)) == 3)
        assert {name: ready(platform)[name] for name in before} == before
        assert load.bad == []
    await asyncio.to_thread(platform.stop)
    assert place.replicas() == []


@pytest.mark.usefixtures("hasty")
def test_a_head_that_forgot_takes_its_nodes_along_and_replicas_come_back_with_the_next(place: Place, start):
    platform = start().ready()
    deploy(platform)
    place.cluster.head()
    until(lambda: not place.replicas())
    until(lambda: not ready(platform))
    until(lambda: "Ray's head is away" in pending(platform))
    place.cluster.head()
    until(lambda: len(ready(platform)) == 2)
    assert platform.stop() == 0
    assert place.replicas() == []
