"""The objects of an endpoint in a real control plane: what only it refuses, and what its controllers make of them."""

import json

import pytest

from argosy.spec.endpoint import Endpoint, Resources
from argosy.spec.scaling import Scaling
from tests.kubernetes.plane import until
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
