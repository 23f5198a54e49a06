"""What a revision does about a cluster that changes while it is asked."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from argosy.spec.errors import Conflict
from argosy.targets.kubernetes.workload import Workload, World
from tests.targets.kubernetes.samples import IDENTITY, REVISION


class Cluster:
    """Refuses the number of pods; `there` is told by a list, and `meanwhile` happens before its answer is read."""

    def __init__(self) -> None:
        self.there: list[dict[str, Any]] = []
        self.meanwhile = lambda: None

    async def apply(self, body: dict[str, Any], **_: object) -> dict[str, Any]:
        raise Conflict(f"the object specified uid {body['metadata']['uid']}, and no existing object was found")

    async def list(self, *_: str) -> list[dict[str, Any]]:
        self.meanwhile()
        return self.there


@pytest.mark.parametrize("seen", [False, True])
@pytest.mark.parametrize("there", [False, True])
async def test_a_number_is_held_by_another_manager_only_where_the_deployment_is_the_same(seen: bool, there: bool):
    cluster = Cluster()
    shared = SimpleNamespace(cluster=cluster, leaving=frozenset(), identity=lambda revision: IDENTITY)
    found = Workload(REVISION, cast(World, shared))
    metadata = {"name": found.name, "uid": "u1", "resourceVersion": "7"}
    found.deployment = {"metadata": metadata, "spec": {"replicas": 1}}
    found.scale(2)
    cluster.there = [found.deployment] if there else []
    if seen:  # the watch tells it first
        cluster.meanwhile = lambda: found.see_deployment(cluster.there[0] if there else None, time.monotonic())
    await found.step(lambda: True, asyncio.Lock())
    found.tell("")
    assert ("takes it back" in found.status.pending) == there
    assert (found.deployment is not None, found.dirty) == (there, True)
