"""Pods move from nodes that will go, on a real control plane."""

import pytest

from tests.kubernetes.test_target import NODE, Driven, World, driven, world
from tests.kubernetes.waiting import ready, until

__all__ = ["driven", "world"]
pytestmark = pytest.mark.slow


async def test_pods_move_from_a_node_that_will_go(driven: Driven, world: World):
    target, revision = await driven.target(world.plane.kubeconfig()), world.revisions["lin"]
    await target.scale(revision, 1)
    (first,) = await ready(target, revision, 1)
    served = set[str]()

    async def moved() -> bool:
        busy = await target.vacate({NODE})
        found = (await target.endpoints(revision.id)).replicas
        assert any(each.phase in ("ready", "draining") for each in found)
        await target.release([each.id for each in found if each.phase == "draining"])
        served.update(each.id for each in found)
        return not busy[NODE]

    def cordoned() -> bool:
        return world.plane.client().get(f"/api/v1/nodes/{NODE}").json()["spec"].get("unschedulable", False)

    try:
        with world.plane.node("refuge", world.images):
            await until(moved)
            assert cordoned()
            (second,) = await ready(target, revision, 1)
            assert second.id != first.id
            assert served == {first.id, second.id}
            assert await target.vacate(()) == {}
            assert not cordoned()
            await target.stop()
    finally:
        await target.vacate(())


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
