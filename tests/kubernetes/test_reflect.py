"""The reflector beside a real API server: streamed lists, watches, a server that is away, silent or has no rights."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest

from argosy.spec.settings import KubernetesSettings
from argosy.targets.kubernetes import reflect
from argosy.targets.kubernetes.client import Cluster
from argosy.targets.kubernetes.reflect import Reflector
from tests.kubernetes.plane import PATIENCE, Plane

pytestmark = pytest.mark.slow


def config_map(name: str, text: str = "") -> reflect.Object:
    metadata = {"name": name, "labels": {"of": "test"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"text": text}}


@contextlib.asynccontextmanager
async def following(plane: Plane, namespace: str, user: str = "admin") -> AsyncIterator[tuple[Cluster, Reflector]]:
    """A reflector of the ConfigMaps of a namespace, as a user sees them, while it runs."""
    settings = KubernetesSettings(kubeconfig=str(plane.kubeconfig(user)), namespace=namespace)
    cluster = Cluster.of(settings)
    reflector = Reflector(cluster, "v1", "ConfigMap", "of=test", lambda: None, dict, sleep=briefly)
    task = asyncio.create_task(reflector.run())
    try:
        yield cluster, reflector
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await cluster.close()


async def briefly(seconds: float) -> None:
    await asyncio.sleep(min(seconds, 0.2))


async def until(check: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not check():
            await asyncio.sleep(0.02)


def texts(reflector: Reflector) -> dict[str, str]:
    return {name: obj["data"]["text"] for name, obj in reflector.objects.items()}


async def test_what_is_there_and_what_changes(kubernetes: Plane):
    async with following(kubernetes, kubernetes.namespace()) as (cluster, reflector):
        await until(lambda: reflector.synced)
        assert texts(reflector) == {}
        for name in "abc":
            await cluster.apply(config_map(name, "old"))
        await cluster.apply(config_map("a", "new"))
        await cluster.delete("v1", "ConfigMap", "b")
        await until(lambda: texts(reflector) == {"a": "new", "c": "old"})
        assert reflector.problem == ""


@pytest.mark.parametrize("streams", [True, False])
async def test_a_server_that_was_away(kubernetes: Plane, monkeypatch: pytest.MonkeyPatch, streams: bool):
    """Killed and started again, with a deletion just before; lists streamed, or in pages where that is refused."""
    listed = list[str]()
    stream, pages = Cluster.stream, Cluster.pages

    def streaming(
        cluster: Cluster, method: str, path: str, params: dict[str, str] | None = None, *rest: object, **more: object
    ):
        if not streams and params:
            params.pop("resourceVersionMatch", None)
        return stream(cluster, method, path, params, *rest, **more)

    def paging(cluster: Cluster, version: str, kind: str, selector: str):
        listed.append(kind)
        return pages(cluster, version, kind, selector)

    monkeypatch.setattr(Cluster, "stream", streaming)
    monkeypatch.setattr(Cluster, "pages", paging)
    async with following(kubernetes, kubernetes.namespace()) as (cluster, reflector):
        for name in "abc":
            await cluster.apply(config_map(name))
        await until(lambda: set(reflector.objects) == {*"abc"})
        assert bool(listed) is not streams
        await cluster.delete("v1", "ConfigMap", "a")
        await asyncio.to_thread(kubernetes.restart)
        await cluster.delete("v1", "ConfigMap", "b")
        await cluster.apply(config_map("d"))
        await until(lambda: set(reflector.objects) == {*"cd"})
        await until(lambda: reflector.problem == "")


async def test_a_server_that_falls_silent_is_left(kubernetes: Plane, monkeypatch: pytest.MonkeyPatch):
    """Its connections stay open, and nothing comes: as with a node that is gone."""
    monkeypatch.setattr(reflect, "SILENCE", 0.5)
    async with following(kubernetes, kubernetes.namespace()) as (cluster, reflector):
        await until(lambda: reflector.synced)
        with kubernetes.paused():
            await until(lambda: "the API server was silent" in reflector.problem or reflector.behind() > 1.5)
        await cluster.apply(config_map("a"))
        await until(lambda: set(reflector.objects) == {"a"})


async def test_a_user_without_rights_gets_them(kubernetes: Plane):
    namespace = kubernetes.namespace()
    async with following(kubernetes, namespace, "visitor") as (_, reflector):
        await until(lambda: reflector.problem)
        assert f"user 'visitor' may not do this in namespace {namespace}" in reflector.problem
        assert not reflector.synced
        body = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "view"}} | {
            "subjects": [{"kind": "User", "name": "visitor", "apiGroup": "rbac.authorization.k8s.io"}],
            "roleRef": {"kind": "ClusterRole", "name": "view", "apiGroup": "rbac.authorization.k8s.io"},
        }
        path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings"
        assert kubernetes.client().post(path, json=body).status_code == 201
        await until(lambda: reflector.synced)
        assert reflector.problem == ""
