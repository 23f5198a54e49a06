"""The control plane that tests of Kubernetes stand on: what it does itself, before anything of ours is involved."""

import json
import re
import subprocess

import httpx
import pytest

from tests.kubernetes import programs
from tests.kubernetes.plane import until

pytestmark = pytest.mark.slow
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
APPLY = {"content-type": "application/apply-patch+yaml"}


@pytest.fixture
def namespace(kubernetes):
    return kubernetes.namespace()


def deployment(replicas, **container):
    labels = {"app": "web"}
    pod = {"containers": [{"name": "web", "image": "web:1", **container}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def ready(client, namespace, count):
    """The pods, once so many are Ready and there are no others."""

    def pods():
        items = client.get(f"/api/v1/namespaces/{namespace}/pods").raise_for_status().json()["items"]
        conditions = [{each["type"]: each["status"] for each in pod["status"].get("conditions", [])} for pod in items]
        return items if len(items) == count and all(each.get("Ready") == "True" for each in conditions) else None

    return until(pods, f"{count} pods Ready")


def test_version_is_the_one_that_is_pinned(kubernetes, client):
    (pinned,) = re.findall(r"^\tk8s.io/kubernetes (v\S+)", (programs.MODULE / "go.mod").read_text(), re.MULTILINE)
    told = subprocess.run(
        [programs.folder() / "kubectl", f"--kubeconfig={kubernetes.kubeconfig()}", "version", "-o=json"],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    versions = json.loads(told.stdout)
    assert versions["serverVersion"] == client.get("/version").json()
    assert versions["serverVersion"]["gitVersion"] == versions["clientVersion"]["gitVersion"] == pinned


def test_deployment_gets_pods_that_are_ready_on_acted_nodes(kubernetes, client, namespace):
    kubernetes.fake_nodes(2)
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    client.post(path, json=deployment(3)).raise_for_status()
    pods = ready(client, namespace, 3)
    assert {pod["spec"]["nodeName"] for pod in pods} <= {"fake-0", "fake-1"}
    until(lambda: client.get(f"{path}/web").json()["status"].get("availableReplicas") == 3, "three available")
    client.patch(
        f"{path}/web/scale", json={"spec": {"replicas": 1}}, headers={"content-type": "application/merge-patch+json"}
    )
    ready(client, namespace, 1)


def test_apply_of_another_managers_field_names_that_manager(client, namespace):
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/web"
    client.patch(path, params={"fieldManager": "argosy"}, json=deployment(1), headers=APPLY).raise_for_status()
    refused = client.patch(path, params={"fieldManager": "other"}, json=deployment(2), headers=APPLY)
    assert refused.status_code == 409
    (cause,) = refused.json()["details"]["causes"]
    assert (cause["reason"], cause["field"]) == ("FieldManagerConflict", ".spec.replicas")
    assert '"argosy"' in cause["message"]
    forced = {"fieldManager": "other", "force": "true"}
    assert client.patch(path, params=forced, json=deployment(2), headers=APPLY).json()["spec"]["replicas"] == 2


def test_eviction_keeps_to_the_disruption_budget(kubernetes, client, namespace):
    kubernetes.fake_nodes(1)
    client.post(f"/apis/apps/v1/namespaces/{namespace}/deployments", json=deployment(1)).raise_for_status()
    (pod,) = ready(client, namespace, 1)
    budgets = f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets"
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}
    client.post(budgets, json={"metadata": {"name": "web"}, "spec": spec}).raise_for_status()
    until(lambda: client.get(f"{budgets}/web").json().get("status", {}).get("currentHealthy") == 1, "a counted budget")

    path, name = f"/api/v1/namespaces/{namespace}/pods", pod["metadata"]["name"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    refused = client.post(f"{path}/{name}/eviction", json=eviction)
    assert refused.status_code == 429
    assert refused.json()["details"]["causes"][0]["reason"] == "DisruptionBudget"
    client.delete(f"{budgets}/web").raise_for_status()
    until(lambda: client.post(f"{path}/{name}/eviction", json=eviction).status_code != 429, "an eviction")
    until(lambda: client.get(f"{path}/{name}").status_code == 404, "the end of the evicted pod")


def test_service_account_may_nothing_until_it_is_allowed(kubernetes, client, namespace):
    path = f"/api/v1/namespaces/{namespace}"
    client.post(f"{path}/serviceaccounts", json={"metadata": {"name": "reader"}}).raise_for_status()
    with kubernetes.bearer(namespace, "reader") as reader:
        refused = reader.get(f"{path}/pods")
        assert refused.status_code == 403
        assert f"system:serviceaccount:{namespace}:reader" in refused.json()["message"]
        binding = {
            "metadata": {"name": "reader"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
            "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": namespace}],
        }
        client.post(f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings", json=binding)
        until(lambda: reader.get(f"{path}/pods").status_code == 200, "leave to read")
        assert reader.post(f"{path}/configmaps", json={"metadata": {"name": "a"}}).status_code == 403


def test_certificate_that_expires_is_refused(kubernetes):
    certificate = kubernetes.authority.issue("short", seconds=10)
    context = kubernetes.authority.context()
    context.load_cert_chain(*certificate)
    with httpx.Client(base_url=kubernetes.url, verify=context, trust_env=False) as client:
        assert client.get("/api/v1/nodes").status_code == 403
        until(lambda: client.get("/api/v1/nodes").status_code == 401, "the end of the certificate")


def test_gateway_api_is_served_once_its_definitions_are_applied(client, namespace):
    for kind in ("httproutes", "gateways"):
        content = (programs.folder() / "gateway-api" / f"gateway.networking.k8s.io_{kind}.yaml").read_bytes()
        path = f"{DEFINITIONS}/{kind}.gateway.networking.k8s.io"
        client.patch(path, params={"fieldManager": "tests"}, content=content, headers=APPLY).raise_for_status()
    routes = f"/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/httproutes"
    until(lambda: client.get(routes).status_code == 200, "HTTPRoute")
    backends = [{"name": "blue", "port": 80, "weight": 90}, {"name": "green", "port": 80, "weight": 10}]
    route = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "web"},
        "spec": {"rules": [{"backendRefs": backends}]},
    }
    client.post(routes, json=route).raise_for_status()
    route["spec"]["rules"] = [{"backendRefs": [backends[0] | {"weight": -1}]}]
    assert client.post(routes, json=route | {"metadata": {"name": "bad"}}).status_code == 422


def test_control_plane_takes_less_than_a_gigabyte(kubernetes):
    memory = kubernetes.memory()
    assert memory.keys() == programs.PACKAGES.keys() - {"kubectl", "kubelet"}
    assert sum(memory.values()) < 2**30, memory
