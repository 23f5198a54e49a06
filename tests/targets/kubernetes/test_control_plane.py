"""The objects of an endpoint in a real control plane: what only it refuses, and what its controllers make of them."""

import contextlib
import json
import sys

import httpx
import pytest

from argosy.control.revision import revision_of
from argosy.spec.endpoint import Endpoint, Resources
from argosy.spec.scaling import Scaling
from argosy.spec.settings import Home, Settings
from argosy.store import open_store
from argosy.targets.kubernetes import objects
from argosy.targets.kubernetes.objects import Pods
from tests.kubernetes.plane import until
from tests.platform.packages import push
from tests.targets.kubernetes.test_objects import everything

pytestmark = pytest.mark.slow
PATHS = {
    "ConfigMap": "api/v1",
    "Deployment": "apis/apps/v1",
    "HorizontalPodAutoscaler": "apis/autoscaling/v2",
    "NetworkPolicy": "apis/networking.k8s.io/v1",
    "PodDisruptionBudget": "apis/policy/v1",
    "Service": "api/v1",
    "ServiceAccount": "api/v1",
}
PLURALS = {"NetworkPolicy": "networkpolicies"}
APPLY = {"content-type": "application/apply-patch+yaml"}


@pytest.fixture
def namespace(kubernetes):
    """A namespace that admits only restricted pods and warns of others."""
    name = kubernetes.namespace()
    labels = {f"pod-security.kubernetes.io/{each}": "restricted" for each in ("enforce", "warn")}
    merge = {"content-type": "application/merge-patch+json"}
    patch = json.dumps({"metadata": {"labels": labels}})
    kubernetes.client().patch(f"/api/v1/namespaces/{name}", content=patch, headers=merge).raise_for_status()
    return name


def apply(client, namespace, made):
    """Apply an object with strict fields; the answer."""
    kind, name = made["kind"], made["metadata"]["name"]
    path = f"/{PATHS[kind]}/namespaces/{namespace}/{PLURALS.get(kind, kind.lower() + 's')}/{name}"
    strict = {"fieldManager": "argosy", "fieldValidation": "Strict"}
    answer = client.patch(path, params=strict, content=json.dumps(made), headers=APPLY)
    assert answer.is_success, answer.text
    return answer


@pytest.mark.parametrize("replicas", [3, Scaling(min=2, max=4)], ids=["three", "bounds"])
def test_objects_are_applied_strictly_and_their_pods_become_ready(kubernetes, namespace, replicas):
    kubernetes.fake_nodes(2)
    client = kubernetes.client()
    resources = Resources(cpu=1, memory=2**30)
    made = everything(Endpoint(name="digits", model="digits:3", replicas=replicas, resources=resources), grpc=True)
    for each in made:
        for status in (201, 200):  # the second time nothing is to do
            answer = apply(client, namespace, each)
            assert (answer.status_code, answer.headers.get("warning")) == (status, None)
    deployment = next(each for each in made if each["kind"] == "Deployment")["metadata"]["name"]
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{deployment}"
    wanted = 3 if replicas == 3 else 2
    until(lambda: client.get(path).json()["status"].get("readyReplicas") == wanted, f"{wanted} ready replicas")
    budget = f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets/{deployment}"
    until(lambda: client.get(budget).json()["status"].get("disruptionsAllowed") == 1, "one disruption allowed")


def test_pods_of_an_endpoint_are_replicas_that_answer(kubernetes, tmp_path):
    """The image's part is played by this tree's `argosy` and by a package on this machine."""
    namespace, client = kubernetes.namespace(), kubernetes.client()
    with contextlib.closing(open_store(Home(tmp_path / "home"), Settings())) as store:
        version = push(store, tmp_path / "made", 2.0)
        folder = store.unpacked(version.digest)
    endpoint = Endpoint(name="linear", model=f"{version.name}:1", replicas=2, resources=Resources(cpu=1, memory=2**28))
    pods = Pods(image="linear:1", replicas=2, grpc=True)
    entrypoint = [sys.executable, "-m", "argosy"]
    image = {"entrypoint": entrypoint, "env": {"ARGOSY_HOME": "/var/lib/argosy"}, "paths": {"/models": str(folder)}}
    made = [*objects.of_endpoint(endpoint, grpc=True), *objects.of_revision(revision_of(endpoint, version), pods)]
    with kubernetes.node("replicas", {"linear:1": image}):
        for each in made:
            apply(client, namespace, each)
        path = f"/api/v1/namespaces/{namespace}/pods"
        until(lambda: len(addresses(client, path)) == 2, "two replicas")
        body = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
        for address in addresses(client, path):
            answer = httpx.post(f"http://{address}:8080/v2/models/linear/infer", json=body, trust_env=False)
            assert answer.is_success, answer.text
            assert answer.json()["outputs"][0]["data"] == [2, 4, 6, 8]


def addresses(client, path):
    """Those of the pods that are Ready."""
    return [
        pod["status"]["podIP"]
        for pod in client.get(path).raise_for_status().json()["items"]
        if {"type": "Ready", "status": "True"}.items()
        <= next((each for each in pod["status"].get("conditions", []) if each["type"] == "Ready"), {}).items()
    ]
