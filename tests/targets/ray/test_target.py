"""What only the target `ray` does, on a real cluster."""

import logging

import msgspec
import pytest

from argosy.spec.endpoint import Resources
from argosy.spec.settings import Home
from argosy.store import authority
from argosy.targets import supervised
from argosy.targets.ray import link
from tests.batch import nodes
from tests.targets.lab import ID, RayLab, empty, ready, revision, runs, until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]


@pytest.fixture(params=["ray"])
def lab(lab: RayLab) -> RayLab:
    return lab


async def test_a_replica_without_a_node_waits_and_says_why(lab: RayLab):
    target = await lab.target()
    declared = msgspec.structs.replace(revision(), resources=Resources(cpu=3))
    await target.scale(declared, 3)
    await ready(target, 2)
    await until(lambda: _pending(target, "has room: a replica takes 3 CPU, 2 CPU are free on all nodes together"))
    assert (await target.endpoints(ID)).failed == ""
    await target.scale(declared, 2)
    await until(lambda: _pending(target, ""))
    large = msgspec.structs.replace(declared, id="fed0123456", resources=Resources(cpu=5, gpu=1))
    await target.scale(large, 1)

    async def said() -> bool:
        return "a replica takes 5 CPU, 1 GPU, nodes have 4 CPU, 0 GPU" in (await target.endpoints(large.id)).pending

    await until(said)
    await target.stop()
    assert lab.left() == []


async def _pending(target, why: str) -> bool:
    found = (await target.endpoints(ID)).pending
    return why in found if why else not found


async def test_of_two_controllers_the_later_one_is_obeyed(lab: RayLab, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(link, "LATER", 0.1)
    first = await lab.target()
    await first.scale(revision(), 1)
    await ready(first, 1)
    before = await runs(first)
    second = await lab.target()
    await ready(second, 1)
    await until(lambda: _pending(first, "another controller of this platform works with the Ray cluster since"))
    await first.scale(revision(), 0)
    await first.release([each.id for each in (await first.endpoints(ID)).replicas])
    await second.scale(revision(), 2)
    await ready(second, 2)
    assert before < await runs(second)
    await first.close()
    await second.stop()
    assert lab.left() == []


async def test_what_the_controller_forgot_is_found_and_goes_if_it_is_not_wanted(lab: RayLab):
    first = await lab.target()
    await first.scale(revision(), 2)
    await ready(first, 2)
    before = await runs(first)
    await first.close()
    (lab.home.run / "ray.json").unlink()
    second = await lab.target()
    await second.scale(revision(), 1)

    async def two() -> bool:
        found = (await second.endpoints(ID)).replicas
        await second.release([each.id for each in found if each.phase == "draining"])
        return len(found) == 1 and await runs(second) < before

    await until(two)
    await second.stop()
    assert lab.left() == []


async def test_certificates_are_renewed_on_the_node(lab: RayLab, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(supervised, "TEND_SECONDS", 0.2)
    target = await lab.target()
    await target.scale(revision(), 1)
    await ready(target, 1)
    (theirs,) = (lab.nodes.run / "r").glob("*.tls")
    (ours,) = (lab.home.run / "ray").glob("*/replica.pem")
    before = (theirs / "replica.pem").read_bytes()
    assert before == ours.read_bytes()
    monkeypatch.setattr(authority, "LEFT", authority.LIFE)

    async def renewed() -> bool:
        return (theirs / "replica.pem").read_bytes() != before

    await until(renewed)
    monkeypatch.undo()
    await target.scale(revision(), 0)
    await target.release([each.id for each in (await target.endpoints(ID)).replicas])
    await until(lambda: empty(target))
    await target.stop()


async def test_a_cluster_that_is_not_there_is_said(lab: RayLab, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.CRITICAL)
    lab.settings = msgspec.convert({"ray": {"address": "127.0.0.1:1"}}, type(lab.settings))
    target = await lab.target()
    await target.scale(revision(), 1)
    await until(lambda: _pending(target, "Ray's head is away: 127.0.0.1:1 does not answer"))
    assert (await target.endpoints(ID)).failed == ""
    await target.close()


async def test_replicas_move_from_a_node_that_will_go(tmp_path):
    """Ray cannot be told that a node stays after all, so that this cluster is another one."""
    with nodes.running(0, 1, 1, log=tmp_path / "log", environ={"ARGOSY_HOME": str(tmp_path / "n")}) as cluster:
        lab = RayLab(Home(tmp_path / "h"), cluster, tmp_path / "n")
        target = await lab.target()
        await target.scale(msgspec.structs.replace(revision(), resources=Resources(cpu=0.25)), 1)
        (first,) = (await ready(target, 1)).replicas
        (place,) = target._remotes()
        node = place.handle.report.node

        async def moved() -> bool:
            busy = await target.vacate({node})
            found = (await target.endpoints(ID)).replicas
            assert any(each.phase in ("ready", "draining") for each in found), "somebody serves at every moment"
            await target.release([each.id for each in found if each.phase == "draining"])
            return not busy[node]

        assert await target.vacate({node, "elsewhere"}) == {node: 1, "elsewhere": 0}
        await until(moved)
        (second,) = (await ready(target, 1)).replicas
        assert second.run != first.run
        assert [each.handle.report.node for each in target._remotes()] != [node]
        await target.stop()
        lab.close()
