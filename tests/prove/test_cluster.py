"""Rollouts and evictions under load in a cluster; `python -m prove.cluster` goes through many."""

from collections.abc import Callable

import pytest

from argosy.spec.settings import Home
from prove.cluster import NAME, Proof, fill
from tests.kubernetes.plane import Plane
from tests.platform.up import Up, home, start

__all__ = ["home", "start"]
MANY, AWAY = 5, 20.0
MERGE = {"content-type": "application/merge-patch+json"}


@pytest.fixture
def alone(kubernetes: Plane):
    """Nodes of other tests, whose pods are acted, take none of ours."""
    for each in kubernetes.client().get("/api/v1/nodes").json()["items"]:
        path = f"/api/v1/nodes/{each['metadata']['name']}"
        kubernetes.client().patch(path, json={"spec": {"unschedulable": True}}, headers=MERGE).raise_for_status()
    yield
    for each in kubernetes.client().get("/api/v1/nodes").json()["items"]:
        path = f"/api/v1/nodes/{each['metadata']['name']}"
        kubernetes.client().patch(path, json={"spec": {"unschedulable": None}}, headers=MERGE).raise_for_status()


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_rollouts_and_evictions_in_a_cluster_fail_no_request(
    home: Home, start: Callable[..., Up], kubernetes: Plane, alone: None
):
    namespace = kubernetes.namespace()
    images = fill(home, kubernetes, namespace)
    with kubernetes.node("proof", images):
        proof = Proof(kubernetes, namespace, start().ready(), seed=1)
        try:
            load = await proof.run(MANY, MANY, away=AWAY)
            assert proof.wrong == []
            assert (len(proof.took["rollout"]), len(proof.took["eviction"])) == (MANY + 2, MANY)
            assert load.answers == {1.0, 2.0}
            proof.platform.call("DELETE", f"/v1/endpoints/{NAME}")
        finally:
            proof.platform.stop()
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    assert kubernetes.client().get(path).json()["items"] == []
