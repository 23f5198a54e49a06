"""What every target must do, with stand-ins in the place of replicas that start in a few hundredths of a second."""

import pytest

from argosy.spec.errors import BadSignature, InvalidArgument
from argosy.targets import group, supervise
from argosy.targets.health import ask
from tests.targets.lab import ID, Lab, empty, failed, ready, replaced, revision, runs, until


async def test_scale_up_down_and_remove_leave_nothing(lab: Lab):
    target = await lab.target()
    await target.scale(revision(), 3)
    await ready(target, 3)
    await target.scale(revision(), 1)

    async def draining() -> list[str]:
        found = [each.id for each in (await target.endpoints(ID)).replicas if each.phase == "draining"]
        return found if len(found) == 2 else []

    await until(draining)
    kept = await runs(target)
    await target.release(await draining())
    await ready(target, 1)
    assert await runs(target) == kept
    await target.remove(ID)

    async def leaving() -> bool:
        return [each.phase for each in (await target.endpoints(ID)).replicas] == ["draining"]

    await until(leaving)
    await target.release([each.id for each in (await target.endpoints(ID)).replicas])
    await until(lambda: empty(target))
    await target.stop()
    assert lab.left() == []


async def test_a_replica_that_dies_comes_back(lab: Lab):
    target = await lab.target()
    await target.scale(revision(), 2)
    first = (await ready(target, 2)).replicas[0]
    await ask(first.http, "/crash", 60)
    await until(lambda: replaced(target, 2, first.run))
    found = await target.endpoints(ID)
    assert found.replaced == 1
    assert "ended with status 3" in found.trouble
    assert len({each.id for each in found.replicas}) == 2
    await target.stop()
    assert lab.left() == []


async def test_a_hung_replica_is_replaced(lab: Lab):
    target = await lab.target()
    await target.scale(revision(), 1)
    first = (await ready(target, 1)).replicas[0]
    await ask(first.http, "/hang", 60)
    await until(lambda: replaced(target, 1, first.run))
    await target.stop()
    assert lab.left() == []


@pytest.mark.parametrize(("how", "why"), [("refuse", "golden example 3"), ("crash", "no such luck")])
async def test_a_replica_that_cannot_start_says_why_and_takes_no_traffic(lab: Lab, how: str, why: str):
    lab.behave(how)
    target = await lab.target()
    await target.scale(revision(), 1)
    await until(lambda: failed(target, why))
    assert (await target.endpoints(ID)).ready == 0
    lab.behave("ok")
    await target.retry(ID)
    assert (await ready(target, 1)).failed == ""
    await target.stop()


async def test_adoption_keeps_every_replica(lab: Lab):
    first = await lab.target()
    await first.scale(revision(threads=0), 2)
    await ready(first, 2)
    before = await runs(first)
    await first.close()
    second = await lab.target()
    assert [each.id for each in await second.revisions()] == [ID]
    await ready(second, 2)
    assert await runs(second) == before
    await second.scale(revision(threads=0), 2)
    gone = (await second.endpoints(ID)).replicas[0]
    await ask(gone.http, "/crash", 60)
    await until(lambda: replaced(second, 2, gone.run))
    await second.stop()
    assert lab.left() == []


async def test_a_package_that_cannot_be_had_is_the_reason(lab: Lab):
    target = await lab.target(lambda: InvalidArgument("sha256:0 is not in the store"))
    await target.scale(revision(), 1)
    await until(lambda: failed(target, "not in the store"))
    await target.stop()


async def test_what_serves_goes_on_when_its_signature_counts_no_more(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(group, "RETRY_UNPACK", 0.05)
    first = await lab.target()
    await first.scale(revision(), 1)
    await ready(first, 1)
    before = await runs(first)
    await first.close()
    refused: list[Exception] = [BadSignature("digits:1 is not signed")]
    second = await lab.target(lambda: next(iter(refused), None))
    await second.scale(revision(), 2)
    await until(lambda: failed(second, "its package is refused: digits:1 is not signed"))
    await ready(second, 1)
    assert await runs(second) == before
    refused.clear()
    await ready(second, 2)
    await second.stop()


@pytest.mark.slow
async def test_a_replica_that_never_becomes_ready_is_replaced_and_says_what_it_was_at(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(supervise, "FAILURES", 1)
    lab.behave("never")
    target = await lab.target()
    await target.scale(revision(start_timeout=lab.begins), 1)

    async def loading() -> bool:
        return any("loads its model" in each.doing for each in (await target.endpoints(ID)).replicas)

    await until(loading)
    await until(lambda: failed(target, f"not ready after {lab.begins:g} s (it loads its model and checks it)"))
    lab.behave("ok")
    await ready(target, 1)
    await target.stop()


async def test_what_every_replica_uses_is_said_by_its_id(lab: Lab):
    target = await lab.target()
    await target.scale(revision(), 2)
    found = await ready(target, 2)

    async def used() -> bool:
        told = await target.usage()
        whose = {each.id for each in found.replicas}
        return told.keys() == whose and all(each.cpu > 0 and each.memory > 2**20 for each in told.values())

    await until(used)
    await target.scale(revision(), 0)
    await target.stop()
    assert await target.usage() == {}
