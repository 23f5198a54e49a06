"""Endpoints whose replicas are pods: declared as on one machine, on a real control plane whose node runs pods as
processes, and no request is lost whatever becomes of the controller."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from argosy.spec.settings import Home, Settings, StoreSettings, load
from argosy.store import open_store
from argosy.store.oci.credentials import Credential, save
from argosy.store.store import Store
from tests import ports
from tests import postgres as stores
from tests.kubernetes.plane import Plane
from tests.language.packages import FAKE, push_language
from tests.platform.gateways import gateways
from tests.platform.packages import push
from tests.platform.streams import CHAT, Stream
from tests.platform.up import Load, Up, clear, started, until
from tests.store.oci.live import PASSWORD, USER, running

pytestmark = pytest.mark.slow

IMAGE = "registry.example/{model}:{version}"
SHORT = Path(__file__).parents[1] / "kubernetes" / "short_home.py"
BASE = "registry.example/argosy:1"
MERGE = {"content-type": "application/merge-patch+json"}
KINDS = {"api/v1": ("pods", "secrets", "configmaps", "serviceaccounts"), "apis/apps/v1": ("deployments",)}
KINDS |= {"apis/policy/v1": ("poddisruptionbudgets",), "apis/networking.k8s.io/v1": ("networkpolicies",)}


class Place:
    """A platform, and the namespace that it drives."""

    def __init__(self, home: Home, plane: Plane, **more: str) -> None:
        self.home, self.client, self.namespace = home, plane.client(), plane.namespace()
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        path = f"/api/v1/namespaces/{self.namespace}"
        self.client.patch(path, json={"metadata": {"labels": labels}}, headers=MERGE).raise_for_status()
        cluster = {"kubeconfig": plane.kubeconfig(), "namespace": self.namespace, "image": more.pop("image", IMAGE)}
        text = ", ".join(f"{name}: '{value}'" for name, value in cluster.items())
        stored = ", ".join(f"{name}: '{value}'" for name, value in more.items())
        home.config.write_text(
            f"control: {{port: 0}}\ngateway: {{port: 0}}\nkubernetes: {{{text}}}\nstore: {{{stored}}}\n"
        )

    def left(self) -> set[str]:
        """What is in the namespace that no namespace has by itself."""
        found: set[str] = set()
        for group, kinds in KINDS.items():
            for kind in kinds:
                listed = self.client.get(f"/{group}/namespaces/{self.namespace}/{kind}").json()["items"]
                found |= {f"{kind}/{each['metadata']['name']}" for each in listed}
        return found - {"serviceaccounts/default", "configmaps/kube-root-ca.crt"}


def image(**more: object) -> dict[str, object]:
    return {"entrypoint": [sys.executable, "-m", "argosy"], "env": {"ARGOSY_HOME": "/var/lib/argosy"}, **more}


@pytest.fixture
def place(home: Home, store: Store, kubernetes: Plane) -> Iterator[Place]:
    """One with two versions of `digits`, whose images are there."""
    images: dict[str, dict[str, object]] = {}
    for number in (1, 2):
        version = push(store, home.root / f"p{number}", 2.0 + number)
        folder = str(store.unpacked(version.digest))
        images[IMAGE.format(model="digits", version=number)] = image(paths={"/models": folder})
    with kubernetes.node("declares", images):
        yield Place(home, kubernetes)


@pytest.fixture
def start(home: Home) -> Iterator:
    with started(home) as begin:
        yield begin


def deploy(platform: Up, **more: object) -> dict:
    declared = {
        "model": "digits:1",
        "replicas": 2,
        "target": "kubernetes",
        "retries": 0,
        "runtime": {"drain_timeout": 5},
        **more,
    }
    found = platform.call("PUT", "/v1/endpoints/digits", declared, wait=90)
    assert found["endpoint"]["state"] == "ready", found
    return found


def command(home: Home, *words: str) -> str:
    environ = os.environ | {"ARGOSY_HOME": str(home.root)}
    return subprocess.run(
        [sys.executable, "-m", "argosy", *words], env=environ, capture_output=True, text=True, check=True
    ).stdout


def ready(platform: Up) -> set[str]:
    return {each["id"] for each in platform.call("GET", "/v1/replicas") if each["phase"] == "ready"}


async def test_a_rollout_under_load_and_a_controller_that_is_killed_cost_no_request(place: Place, start):
    platform = await asyncio.to_thread(start().ready)
    deployed = await asyncio.to_thread(deploy, platform, payload={"flush": 1})
    async with Load(deployed["url"], deployed["key"], 3) as load:
        await load.more(100)
        await asyncio.to_thread(until, lambda: (platform.call("GET", "/v1/status")["recorder"] or {}).get("records"))
        before = ready(platform)
        rolling = asyncio.create_task(asyncio.to_thread(deploy, platform, model="digits:2"))
        await asyncio.to_thread(until, lambda: ready(platform) - before)
        platform.kill()
        await asyncio.gather(rolling, return_exceptions=True)
        await load.more(50)
        platform = await asyncio.to_thread(start().ready)
        await asyncio.to_thread(until, lambda: len(ready(platform)) == 2 and not ready(platform) & before)
        await load.more(100)
        victim = sorted(ready(platform))[0]
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": victim}}
        path = f"/api/v1/namespaces/{place.namespace}/pods/{victim}/eviction"
        place.client.post(path, json=eviction).raise_for_status()
        await asyncio.to_thread(until, lambda: len(ready(platform) - {victim}) == 2)
        await load.more(100)
        assert (load.bad, load.answers) == ([], {3.0, 4.0})
    await asyncio.to_thread(platform.call, "DELETE", "/v1/endpoints/digits")
    await asyncio.to_thread(until, lambda: not place.left())
    assert await asyncio.to_thread(platform.stop) == 0


async def test_a_leader_of_another_home_is_trusted_by_pods_and_gateways_at_once(
    place: Place, start, postgres: str, tmp_path_factory: pytest.TempPathFactory
):
    config = yaml.safe_load(place.home.config.read_text())
    config |= {"control": {"port": ports.free()}, "gateway": {"place": "remote"}}
    config["store"] = {"database": stores.schema(postgres)}
    other = Home(tmp_path_factory.mktemp("h")).create()
    for each in (place.home, other):
        each.config.write_text(yaml.safe_dump(config))
    shared = open_store(place.home, load(place.home, {}))
    push(shared, place.home.root / "p", 3.0)
    shared.close()
    platform = await asyncio.to_thread(start().ready)
    shutil.copy(place.home.root / "gateway.token", other.root)
    deployed = await asyncio.to_thread(deploy, platform)
    standby = Up(other, [sys.executable, "-m", "argosy.platform", "--standby"])
    with gateways(tmp_path_factory.mktemp("f")) as far:
        try:
            (early,) = far.begin(platform, "early")
            await asyncio.to_thread(early.confirmed)
            async with Load(early.url, deployed["key"], 3) as load_:
                await load_.more(50)
                before = ready(platform)
                platform.kill()
                await asyncio.to_thread(standby.ready)
                (late,) = far.begin(standby, "late")
                await asyncio.to_thread(late.confirmed)
                found = [await asyncio.to_thread(late.ask, deployed["key"]) for _ in range(20)]
                assert {each.status_code for each in found} == {200}, found
                await asyncio.to_thread(until, lambda: len(ready(standby)) == 2)
                assert ready(standby) == before
                await load_.more(100)
                assert load_.bad == []
            assert await asyncio.to_thread(standby.stop) == 0
        finally:
            if standby.process.poll() is None:
                standby.kill()
            clear(other)


def test_a_language_model_streams_from_a_pod_and_an_update_cuts_nothing(
    home: Home, store: Store, kubernetes: Plane, start, monkeypatch: pytest.MonkeyPatch
):
    """The platform itself has no engine. Short paths, since pods are processes."""
    monkeypatch.delenv("ARGOSY_VLLM_PYTHON", raising=False)
    ref = push_language(store, home.root / "m")
    with tempfile.TemporaryDirectory(prefix="h") as short:
        entry = [sys.executable, str(SHORT), short]
        folder = str(store.unpacked(store.registry.resolve(ref).digest))
        env = {"ARGOSY_HOME": "/var/lib/argosy", **FAKE}
        made = image(entrypoint=entry, env=env, paths={"/models": folder})
        with kubernetes.node("generates", {IMAGE.format(model="m", version=1): made}):
            place = Place(home, kubernetes)
            platform = start().ready()
            declared = {"model": ref, "target": "kubernetes", "public": True, "runtime": {"drain_timeout": 20}}
            deployed = platform.call("PUT", "/v1/endpoints/m", declared, wait=90)
            assert deployed["endpoint"]["state"] == "ready", deployed
            (replica,) = platform.call("GET", "/v1/replicas")
            assert (replica["grpc"], replica["engine"]["port"]) == (None, 8081)
            stream = Stream(f"{deployed['url']}/chat/completions", fake={"tokens": 300, "each": 0.02})
            until(lambda: len(stream.lines) > 2)
            platform.call("PUT", "/v1/endpoints/m", declared | {"language": {"context": 1024}}, wait=90)
            assert stream.tokens() == 300
            until(lambda: len(ready(platform)) == 1)
            assert httpx.post(f"{deployed['url']}/chat/completions", json=CHAT, timeout=60).status_code == 200
            assert platform.stop() == 0
            until(lambda: not place.left())


def test_clusters_that_are_away_at_the_first_start_stop_nothing_else(home: Home, store: Store, start):
    access = {"clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}], "current-context": "c"}
    access["contexts"] = [{"name": "c", "context": {"cluster": "c"}}]
    (home.root / "kubeconfig").write_text(json.dumps(access))
    cluster = {"kubeconfig": str(home.root / "kubeconfig"), "image": IMAGE}
    ports = {"control": {"port": 0}, "gateway": {"port": 0}}
    home.config.write_text(json.dumps({**ports, "kubernetes": cluster, "ray": {"address": "127.0.0.1:1"}}))
    push(store, home.root / "p1", 3.0)
    platform = start().ready()
    deploy(platform, target="local", replicas=1)
    assert platform.call("GET", "/v1/status")["away"].keys() == {"kubernetes", "ray"}
    for name, said in (("kubernetes", "cannot be reached"), ("ray", "does not answer")):
        platform.call("PUT", f"/v1/endpoints/{name}", {"model": "digits:1", "target": name})
        until(lambda name=name, said=said: said in platform.call("GET", f"/v1/endpoints/{name}")["reason"])
    shown = command(home, "ps")
    assert "target kubernetes is away: the API server http://127.0.0.1:1 cannot be reached" in shown
    assert "target ray is away: Ray's head is away: 127.0.0.1:1 does not answer" in shown
    assert platform.stop() == 0


def test_pods_of_one_image_fetch_their_package_by_digest(home: Home, kubernetes: Plane, start, tmp_path: Path):
    with running(tmp_path / "registry") as registry, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", registry.ca)
        patch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
        save(registry.host, Credential(USER, PASSWORD), {"REGISTRY_AUTH_FILE": str(tmp_path / "auth.json")})
        blobs = f"{registry.host}/shared/models"
        store = open_store(home, Settings(store=StoreSettings(blobs=blobs)))
        push(store, home.root / "p1", 3.0)
        store.close()
        env = {"SSL_CERT_FILE": registry.ca, "REGISTRY_AUTH_FILE": str(tmp_path / "auth.json")}
        with kubernetes.node("fetches", {BASE: image(env={"ARGOSY_HOME": "/var/lib/argosy", **env})}):
            place = Place(home, kubernetes, image=BASE, blobs=blobs)
            platform = start().ready()
            deployed = deploy(platform, replicas=1)
            body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 1, 1, 1]}]}
            headers = {"authorization": f"Bearer {deployed['key']}"}
            answer = httpx.post(deployed["url"], json=body, headers=headers, timeout=60).json()
            assert answer["outputs"][0]["data"] == [3.0] * 4
            assert platform.stop() == 0
            until(lambda: not place.left())
