"""Cluster against the real control plane."""

import httpx
import pytest

from argosy.spec.errors import Conflict, InvalidArgument, NotFound, PermissionDenied
from argosy.spec.settings import KubernetesSettings
from argosy.targets.kubernetes import kubeconfig
from argosy.targets.kubernetes.client import Cluster
from argosy.targets.kubernetes.objects import Object
from tests.kubernetes.plane import Plane

pytestmark = pytest.mark.slow
DEPLOYMENT = ("apps/v1", "Deployment")


def cluster_of(plane: Plane, namespace: str, user: str = "admin", *groups: str) -> Cluster:
    settings = KubernetesSettings(kubeconfig=str(plane.kubeconfig(user, *groups)), namespace=namespace)
    return Cluster.of(settings)


def config_map(name: str, **data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"a": "b"}}, "data": data}


def deployment(replicas: int | None = None) -> Object:
    labels = {"app": "d"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "none"}]}}
    spec: Object = {"selector": {"matchLabels": labels}, "template": pod}
    spec |= {} if replicas is None else {"replicas": replicas}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}


async def test_objects_are_applied_read_annotated_and_deleted(kubernetes: Plane):
    cluster = cluster_of(kubernetes, kubernetes.namespace())
    assert await cluster.get("v1", "ConfigMap", "one") is None
    dry = await cluster.apply(config_map("one", key="value"), dry=True)
    assert dry["data"] == {"key": "value"}
    assert await cluster.get("v1", "ConfigMap", "one") is None
    await cluster.apply(config_map("one", key="value", other="x"))
    found = await cluster.apply(config_map("one", key="new"))
    assert found["data"] == {"key": "new"}, "what is not applied any more is taken away"
    await cluster.annotate("v1", "ConfigMap", "one", {"note": "n", "other": "o"})
    await cluster.annotate("v1", "ConfigMap", "one", {"other": None})
    [listed] = await cluster.list("v1", "ConfigMap", "a=b")
    assert listed["metadata"]["annotations"] == {"note": "n"}
    assert (listed["apiVersion"], listed["kind"]) == ("v1", "ConfigMap")
    for _ in range(2):
        await cluster.delete("v1", "ConfigMap", "one")
    assert await cluster.list("v1", "ConfigMap", "a=b") == []
    with pytest.raises(NotFound, match='configmaps "one" not found'):
        await cluster.annotate("v1", "ConfigMap", "one", {"note": "n"})
    await cluster.close()


async def test_two_managers_share_an_object_and_a_third_one_is_named(kubernetes: Plane):
    namespace = kubernetes.namespace()
    cluster = cluster_of(kubernetes, namespace)
    await cluster.apply(deployment())
    count: Object = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"replicas": 3}}
    await cluster.apply(count, manager="argosy-scale")
    kept = await cluster.apply(deployment())
    assert kept["spec"]["replicas"] == 3, "what another manager has set stays"
    body = {"spec": {"replicas": 7}}
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/d?fieldManager=autoscaler"
    head = {"content-type": "application/merge-patch+json"}
    assert kubernetes.client().patch(path, json=body, headers=head).status_code == 200
    with pytest.raises(Conflict, match=r"deployments/d sets: \.spec\.replicas \(held by autoscaler\)"):
        await cluster.apply(count, manager="argosy-scale")
    forced = await cluster.apply(count, manager="argosy-scale", force=True)
    assert forced["spec"]["replicas"] == 3
    await cluster.close()


async def test_what_a_cluster_refuses_is_told_in_its_words(kubernetes: Plane):
    cluster = cluster_of(kubernetes, kubernetes.namespace())
    with pytest.raises(InvalidArgument, match=r"spec\.replicas.*must be greater than or equal to 0"):
        await cluster.apply(deployment(-1))
    with pytest.raises(NotFound, match=r"the cluster has no such API: PATCH /apis/nobody\.test/v1"):
        await cluster.apply({"apiVersion": "nobody.test/v1", "kind": "Thing", "metadata": {"name": "x"}})
    await cluster.close()
    nowhere = cluster_of(kubernetes, "nowhere")
    with pytest.raises(NotFound, match='namespaces "nowhere" not found'):
        await nowhere.apply(config_map("one"))
    await nowhere.close()


async def test_a_user_without_rights(kubernetes: Plane):
    namespace = kubernetes.namespace()
    cluster = cluster_of(kubernetes, namespace, "nobody")
    with pytest.raises(PermissionDenied, match=f'"nobody" cannot list resource "configmaps".*"{namespace}"'):
        await cluster.list("v1", "ConfigMap")
    assert not await cluster.allowed("list", "v1", "ConfigMap")
    assert (await cluster.version()).startswith("v1.")
    await cluster.close()
    admin = cluster_of(kubernetes, namespace)
    assert await admin.allowed("patch", *DEPLOYMENT)
    await admin.close()


async def test_a_service_account_in_a_pod(kubernetes: Plane, tmp_path):
    namespace = kubernetes.namespace()
    with kubernetes.bearer(namespace, "default") as bearer:
        token = bearer.headers["authorization"].removeprefix("Bearer ")
    for name, text in (("token", "wrong"), ("namespace", namespace)):
        (tmp_path / name).write_text(text)
    (tmp_path / "ca.crt").write_bytes(kubernetes.authority.certificate.read_bytes())
    url = httpx.URL(kubernetes.url)
    environ = {"KUBERNETES_SERVICE_HOST": url.host, "KUBERNETES_SERVICE_PORT": str(url.port), "HOME": str(tmp_path)}
    cluster = Cluster(lambda: kubeconfig.find(KubernetesSettings(), environ, tmp_path))
    assert cluster.namespace == namespace
    with pytest.raises(PermissionDenied, match="does not take the credentials of the service account of this pod"):
        await cluster.list("v1", "Pod")
    (tmp_path / "token").write_text(token)
    account = f'"system:serviceaccount:{namespace}:default" cannot list resource "pods"'
    with pytest.raises(PermissionDenied, match=account):
        await cluster.list("v1", "Pod")
    await cluster.close()


async def test_lists_are_read_in_pages(kubernetes: Plane, monkeypatch: pytest.MonkeyPatch):
    cluster = cluster_of(kubernetes, kubernetes.namespace())
    monkeypatch.setattr("argosy.targets.kubernetes.client.PAGE", 100)
    for number in range(450):
        await cluster.apply(config_map(f"c{number}"))
    pages = [len(page) async for page, _ in cluster.pages("v1", "ConfigMap", "a=b")]
    assert pages == [100, 100, 100, 100, 50]
    names = {each["metadata"]["name"] for each in await cluster.list("v1", "ConfigMap", "a=b")}
    assert names == {f"c{number}" for number in range(450)}
    await cluster.close()
