"""The target of Kubernetes on a real control plane, whose node runs real replicas as processes."""

import asyncio
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from click.testing import CliRunner

from argosy.cli.main import argosy
from argosy.control.revision import revision_of
from argosy.spec.endpoint import Endpoint, Runtime
from argosy.spec.revision import Revision
from argosy.spec.settings import Home, KubernetesSettings, Settings, StoreSettings
from argosy.store import open_store
from argosy.store.authority import Authority
from argosy.targets.base import Admitted
from argosy.targets.health import ask
from argosy.targets.kubernetes.client import RIGHTS, plural
from argosy.targets.kubernetes.target import KubernetesTarget
from tests.cli.models import linear
from tests.kubernetes.plane import Plane
from tests.kubernetes.waiting import drained, ready, told, until

pytestmark = pytest.mark.slow

IMAGE = "registry.example/{model}:{version}"
PLATFORM = "5f0c1d2e3a4b"
NODE = "drives"
MERGE = {"content-type": "application/merge-patch+json"}
PYTHON = {"entrypoint": [sys.executable, "-c"]}


class World:
    """A home with models, and a node that has images of them."""

    def __init__(
        self, plane: Plane, home: Home, node: psutil.Popen, revisions: dict[str, Revision], images: dict[str, Any]
    ) -> None:
        self.plane, self.home, self.node, self.revisions = plane, home, node, revisions
        self.images = images


@pytest.fixture(scope="module")
def world(kubernetes: Plane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = Home(tmp_path_factory.mktemp("drives"))
    run = CliRunner(env={"ARGOSY_HOME": str(home.root)})
    done = run.invoke(argosy, ["push", str(linear(home.root / "lin.onnx", weight=1.0)), "--name", "lin"])
    assert done.exit_code == 0, done.output
    store = open_store(home, Settings())
    version = store.registry.resolve("lin:1")
    package = store.unpacked(version.digest)
    store.close()
    endpoint = Endpoint(name="first", model="lin:1", target="kubernetes", runtime=Runtime(drain_timeout=2))
    revisions = {"lin": revision_of(endpoint, version)}
    image = {"entrypoint": [sys.executable, "-m", "argosy"], "env": {"ARGOSY_HOME": "/var/lib/argosy"}}
    images: dict[str, dict[str, object]] = {"registry.example/lin:1": image | {"paths": {"/models": str(package)}}}
    for name, code in {"crashes": "print('no luck'); raise SystemExit(3)", "killed": "raise SystemExit(137)"}.items():
        images[f"registry.example/{name}:1"] = {"entrypoint": [sys.executable, "-c", code]}
    images["registry.example/large:1"] = {
        "entrypoint": [sys.executable, "-c", "import time; time.sleep(60)"],
        "oom_after": 0.1,
    }
    for name in ("crashes", "killed", "large", "absent"):
        revisions[name] = msgspec.structs.replace(revisions["lin"], id=f"{name}0000"[:10], model=name, endpoint=name)
    kubernetes.close_nodes()
    with kubernetes.node(NODE, images) as node:
        yield World(kubernetes, home, node, revisions, images)


class Driven:
    """A namespace, and targets that drive it."""

    def __init__(self, world: World) -> None:
        self.world, self.client = world, world.plane.client()
        self.namespace = world.plane.namespace()
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        path = f"/api/v1/namespaces/{self.namespace}"
        self.client.patch(path, json={"metadata": {"labels": labels}}, headers=MERGE).raise_for_status()
        self.targets: list[KubernetesTarget] = []
        self._allow("controller")

    def _allow(self, user: str) -> None:
        """Have the user do what a target does, and nothing else."""
        rules = [
            {"apiGroups": [version.rpartition("/")[0]], "resources": [plural(kind)], "verbs": verbs}
            for (version, kind), verbs in RIGHTS.items()
        ]
        group, path = "rbac.authorization.k8s.io", f"/apis/rbac.authorization.k8s.io/v1/namespaces/{self.namespace}"
        role = {"metadata": {"name": user}, "rules": rules}
        self.client.post(f"{path}/roles", json=role).raise_for_status()
        subjects = [{"kind": "User", "name": user, "apiGroup": group}]
        binding = {"metadata": {"name": user}, "subjects": subjects}
        binding["roleRef"] = {"kind": "Role", "name": user, "apiGroup": group}
        self.client.post(f"{path}/rolebindings", json=binding).raise_for_status()

    async def target(self, config: Path | None = None, **more: Any) -> KubernetesTarget:
        """One more, which has adopted what is there."""
        kubeconfig = str(config or self.world.plane.kubeconfig("controller"))
        where = KubernetesSettings(kubeconfig=kubeconfig, namespace=self.namespace, image=more.get("image", IMAGE))
        settings = Settings(kubernetes=where, store=StoreSettings(blobs=more.get("blobs", "")))
        made = KubernetesTarget(
            self.world.home,
            settings,
            lambda revision: Admitted(trusted=False, signed=False),
            Authority(self.world.home.root / "tls" / "replicas", PLATFORM),
            platform=PLATFORM,
        )
        self.targets.append(made)
        await made.adopt()
        return made

    def path(self, kind: str, name: str = "") -> str:
        group = {"deployments": "/apis/apps/v1", "poddisruptionbudgets": "/apis/policy/v1"}.get(kind, "/api/v1")
        group = "/apis/networking.k8s.io/v1" if kind == "networkpolicies" else group
        return f"{group}/namespaces/{self.namespace}/{kind}" + (f"/{name}" if name else "")

    def names(self, kind: str) -> set[str]:
        return {each["metadata"]["name"] for each in self.client.get(self.path(kind)).json()["items"]}

    def left(self) -> set[str]:
        """What is in the namespace that no namespace has by itself."""
        kinds = ("deployments", "pods", "secrets", "configmaps", "serviceaccounts")
        found = {
            f"{kind}/{name}"
            for kind in (*kinds, "poddisruptionbudgets", "networkpolicies")
            for name in self.names(kind)
        }
        return found - {"serviceaccounts/default", "configmaps/kube-root-ca.crt"}


@pytest.fixture
async def driven(world: World) -> AsyncIterator[Driven]:
    found = Driven(world)
    yield found
    for each in found.targets:
        await each.close()
    found.client.delete(f"/api/v1/namespaces/{found.namespace}")


async def test_scale_up_and_down_and_remove_leave_nothing(driven: Driven, world: World):
    target, revision = await driven.target(), world.revisions["lin"]
    await target.scale(revision, 2)
    replicas = await ready(target, revision, 2)
    assert await asyncio.gather(*(ask(each.http, "/v2/models/first", 60) for each in replicas)) == ["yes", "yes"]
    plain = msgspec.structs.replace(replicas[0].http, tls=None)
    assert await ask(plain, "/v2/models/first", 60) == "refused", "who has no certificate gets nothing"
    await target.scale(revision, 1)
    (victim,) = await drained(target, revision)
    (pod,) = [driven.client.get(driven.path("pods", victim)).json()]
    assert "deletionTimestamp" not in pod["metadata"]
    await target.release([victim])
    (left,) = await ready(target, revision, 1)
    assert left.id != victim
    await target.remove(revision.id)
    await target.release(await drained(target, revision))

    async def nothing() -> bool:
        return not await target.revisions() and not driven.left()

    await until(nothing)
    assert not list((world.home.root / "tls" / "pods").iterdir())


async def test_pods_that_end_unasked_are_replaced_and_told(driven: Driven, world: World):
    target, revision = await driven.target(), world.revisions["lin"]
    await target.scale(revision, 2)
    first, second = await ready(target, revision, 2)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": first.id}}
    driven.client.post(f"{driven.path('pods', first.id)}/eviction", json=eviction).raise_for_status()
    await told(target, revision, "trouble", f"pod {first.id} was evicted from node {NODE}")
    assert first.id in await drained(target, revision)
    await ready(target, revision, 2)
    driven.client.delete(driven.path("pods", second.id)).raise_for_status()
    status = await told(target, revision, "trouble", f"pod {second.id} was deleted by somebody else")
    assert status.replaced == 2
    await ready(target, revision, 2)
    await target.stop()

    async def gone() -> bool:
        return not driven.names("deployments")

    await until(gone)  # the cluster deletes what a ConfigMap owned a moment after that


async def test_another_target_takes_over_what_runs(driven: Driven, world: World):
    target, revision = await driven.target(), world.revisions["lin"]
    await target.scale(revision, 2)
    before = {each.id for each in await ready(target, revision, 2)}
    await target.scale(revision, 1)
    await drained(target, revision)
    await target.close()
    heir = await driven.target()
    assert await heir.revisions() == [revision]
    status = await heir.endpoints(revision.id)
    assert (status.ready, status.replaced, {each.id for each in status.replicas}) == (2, 0, before) or status.ready == 1
    await heir.scale(revision, 1)
    victims = await drained(heir, revision)
    await heir.release(victims)
    (left,) = await ready(heir, revision, 1)
    assert {left.id, *victims} == before
    await heir.stop()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("absent", "the image registry.example/absent:1 cannot be pulled"),
        ("crashes", "ended with status 3: no luck"),
        ("killed", "it was killed (status 137)"),
        ("large", "it used more memory than resources.memory says"),
    ],
)
async def test_what_does_not_become_ready_is_told(driven: Driven, world: World, name: str, text: str):
    target, revision = await driven.target(), world.revisions[name]
    await target.scale(revision, 1)
    await told(target, revision, "failed", text)
    if name == "crashes":
        (before,) = driven.names("pods")
        await target.retry(revision.id)

        async def again() -> bool:
            return before not in driven.names("pods")

        await until(again)
        assert "deleted" not in (await target.endpoints(revision.id)).trouble, "it was asked for"
    await target.stop()


async def test_certificates_are_renewed_while_pods_serve(driven: Driven, world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("argosy.targets.kubernetes.target.TEND_SECONDS", 0.2)
    target, revision = await driven.target(), world.revisions["lin"]
    await target.scale(revision, 1)
    (replica,) = await ready(target, revision, 1)
    assert replica.http.tls is not None

    def shown() -> bytes:
        context = ssl.create_default_context(cafile=replica.http.tls.authorities)
        context.load_cert_chain(replica.http.tls.own("controller"))
        line = socket.create_connection((replica.http.host, replica.http.port), 10)
        with context.wrap_socket(line, server_hostname=replica.http.tls.host) as secure:
            return secure.getpeercert(binary_form=True) or b""

    before = await asyncio.to_thread(shown)
    (world.home.root / "tls" / "pods" / revision.id / "replica.pem").unlink()

    async def another() -> bool:
        return await asyncio.to_thread(shown) != before

    await until(another)
    assert (await target.endpoints(revision.id)).replicas == (replica,), "it is the same pod"
    await target.stop()


async def test_a_deployment_that_is_gone_is_made_again(driven: Driven, world: World):
    """As when a revision is wanted again while the cluster still deletes what it had."""
    target, revision = await driven.target(), world.revisions["lin"]
    await target.scale(revision, 1)
    await ready(target, revision, 1)
    (name,) = driven.names("deployments")
    driven.client.delete(driven.path("deployments", name)).raise_for_status()
    await target.scale(revision, 2)  # the watch has not been read since

    async def again() -> bool:
        status = await target.endpoints(revision.id)
        assert status.failed == ""
        return status.ready == 2

    await until(again)
    await target.stop()


async def test_what_the_cluster_refuses_is_told(driven: Driven, world: World):
    revision, nobody = world.revisions["lin"], world.plane.kubeconfig("nobody")
    stranger = await driven.target(nobody)
    await stranger.scale(revision, 1)
    status = await told(stranger, revision, "pending", "user 'nobody' may not do this in namespace")
    assert status.pending == stranger.away()["kubernetes"].why
    quota = {"metadata": {"name": "small"}, "spec": {"hard": {"pods": "1"}}}
    driven.client.post(driven.path("resourcequotas"), json=quota).raise_for_status()
    target = await driven.target()
    await target.scale(revision, 2)
    status = await told(target, revision, "pending", "a quota of the namespace leaves no room for more pods")
    assert status.failed == ""
    await target.stop()


async def test_another_manager_keeps_the_number_until_it_is_taken_back(driven: Driven, world: World):
    target, revision = await driven.target(), world.revisions["lin"]
    await target.scale(revision, 1)
    await ready(target, revision, 1)
    (name,) = driven.names("deployments")
    scale = {"spec": {"replicas": 2}}
    path = f"{driven.path('deployments', name)}/scale"
    driven.client.patch(path, json=scale, headers=MERGE, params={"fieldManager": "kubectl"}).raise_for_status()

    async def held() -> bool:
        status = await target.endpoints(revision.id)
        await target.release({each.id for each in status.replicas if each.phase == "draining"})
        return "(held by kubectl, scale)" in status.pending

    await until(held)
    await ready(target, revision, 2)
    assert driven.client.get(path).json()["spec"]["replicas"] == 2
    await target.retry(revision.id)
    await target.release(await drained(target, revision))
    await ready(target, revision, 1)
    await target.stop()


async def test_pods_go_on_while_the_api_server_is_away(driven: Driven, world: World):
    target, revision = await driven.target(), world.revisions["lin"]
    await target.scale(revision, 1)
    (replica,) = await ready(target, revision, 1)
    kept = world.home.run / "kubernetes.json"

    async def written() -> bool:
        return kept.exists() and b'"ready"' in kept.read_bytes()

    await until(written)
    with world.plane.away():
        await told(target, revision, "pending", "cannot be reached")
        assert (await target.endpoints(revision.id)).replicas == (replica,)
        await target.close()
        heir = await driven.target()
        assert (await heir.endpoints(revision.id)).replicas == (replica,)
        await told(heir, revision, "pending", "cannot be reached")
        assert (await heir.endpoints(revision.id)).replicas == (replica,)
        assert await ask(replica.http, "/v2/models/first", 60) == "yes"
        await heir.scale(revision, 2)
    found = await ready(heir, revision, 2)
    assert replica in found
    await heir.stop()
    assert not kept.exists()


async def test_a_cluster_that_is_away_at_the_first_start_is_taken_up_when_it_comes(driven: Driven, world: World):
    before, revision, kept = await driven.target(), world.revisions["lin"], world.home.run / "kubernetes.json"
    await before.scale(revision, 1)
    (replica,) = await ready(before, revision, 1)
    await before.close()
    kept.unlink(missing_ok=True)
    with world.plane.away():
        target = await driven.target()
        assert target.away()["kubernetes"].blank
        await target.scale(revision, 2)
        await told(target, revision, "pending", "cannot be reached")
    assert replica in await ready(target, revision, 2)
    assert target.away() == {}
    await target.stop()


async def test_a_node_that_is_lost(driven: Driven, world: World):
    target, revision = await driven.target(), world.revisions["lin"]
    await target.scale(revision, 1)
    await ready(target, revision, 1)
    world.node.send_signal(signal.SIGSTOP)
    try:

        async def unready() -> bool:
            return (await target.endpoints(revision.id)).ready == 0

        await until(unready)
    finally:
        world.node.send_signal(signal.SIGCONT)
    await ready(target, revision, 1)
    await target.stop()


async def test_settings_that_say_too_little(driven: Driven, world: World):
    revision = world.revisions["lin"]
    target = await driven.target(image="registry.example/argosy")
    await target.scale(revision, 1)
    await told(target, revision, "failed", "nothing says where pods get a package: set store.blobs")
    await target.stop()
    assert not driven.left()
