"""Pods move from nodes that will go, on a real control plane."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from argosy.spec.provider import KubernetesProvider
from argosy.spec.settings import KubernetesSettings
from argosy.spec.supply import MachineGroup, SupplySettings
from argosy.store.database import Database
from argosy.store.launches import Launches
from argosy.supply.commands import Commands
from argosy.supply.groups import Groups
from argosy.supply.kubernetes import LAUNCH, KubernetesNodes
from argosy.supply.launcher import Launcher
from tests.kubernetes.test_target import MERGE, NODE, Driven, World, driven, world
from tests.kubernetes.waiting import ready, until

__all__ = ["driven", "world"]
pytestmark = pytest.mark.slow


async def test_a_notice_has_another_node_claimed_and_pods_moved_before_it_is_given_back(
    driven: Driven, world: World, tmp_path: Path
):
    """A group of one machine, whose node says that it will be taken; somebody serves at every moment."""
    config = world.plane.kubeconfig()
    target, revision = await driven.target(config), world.revisions["lin"]
    settings = KubernetesSettings(kubeconfig=str(config), namespace=driven.namespace)
    provider = KubernetesNodes("k8s", KubernetesProvider(prices={"*": 1.0}), settings)
    database = Database(tmp_path / "launches.db")
    launcher = Launcher(Launches(database), {"k8s": provider})
    supply = SupplySettings(groups={"g": MachineGroup(machines=1)})
    groups = Groups(launcher, supply, Commands(tmp_path / "log"), [target.vacate])
    served = set[str]()

    async def stands(node: str) -> bool:
        """Whether the group has this node, and no other."""
        await asyncio.to_thread(launcher.tend, "k8s")
        await groups._round()
        found = (await target.endpoints(revision.id)).replicas
        assert not served or any(each.phase in ("ready", "draining") for each in found)
        await target.release([each.id for each in found if each.phase == "draining"])
        served.update(each.id for each in found)
        (status,) = groups.status()
        live = [each.offer.instance for each in launcher.launches.live()]
        return status.ready == 1 and live == [node]

    def shown() -> dict[str, Any]:
        return world.plane.client().get(f"/api/v1/nodes/{NODE}").json()

    def taint(*keys: str) -> None:
        body = {"spec": {"taints": [{"key": each, "effect": "NoSchedule"} for each in keys]}}
        world.plane.client().patch(f"/api/v1/nodes/{NODE}", json=body, headers=MERGE).raise_for_status()

    await until(lambda: stands(NODE))
    await target.scale(revision, 1)
    (first,) = await ready(target, revision, 1)
    served.add(first.id)
    try:
        with world.plane.node("refuge", world.images):
            taint("karpenter.sh/disrupted")
            await until(lambda: stands("refuge"))
            (second,) = await ready(target, revision, 1)
            assert served == {first.id, second.id}
            assert await stands("refuge")
            assert not shown()["spec"].get("unschedulable")
            assert LAUNCH not in shown()["metadata"].get("annotations", {})
            await target.stop()
    finally:
        taint()
        database.close()


async def test_a_platform_that_may_not_touch_nodes_moves_pods_all_the_same(driven: Driven, world: World, caplog):
    target, revision = await driven.target(), world.revisions["lin"]
    await target.scale(revision, 1)
    await ready(target, revision, 1)
    assert await target.vacate({NODE}) == {NODE: 1}
    assert "are not cordoned" in caplog.text

    async def surges() -> bool:
        return driven.client.get(driven.path("deployments")).json()["items"][0]["spec"]["replicas"] == 2

    await until(surges)
    await target.vacate(())
    await target.stop()
