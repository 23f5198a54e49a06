"""The local target with real processes: stand-ins that start in a few hundredths of a second."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil
import pytest

from argosy.spec.endpoint import Resources, Runtime
from argosy.spec.errors import BadSignature, InvalidArgument
from argosy.spec.revision import Revision
from argosy.spec.settings import Home, load
from argosy.targets import group
from argosy.targets.health import ask
from argosy.targets.launch import Unpacked, folder
from argosy.targets.local import LocalTarget, cores
from argosy.targets.tags import scan

STAND_IN = (sys.executable, "-S", str(Path(__file__).with_name("stand_in.py")))


@pytest.fixture(params=["unix", "tls"])
def home(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest):
    """One whose replicas are reached in either way: what holds of the local target does for both."""
    place = Home(tmp_path_factory.mktemp("h")).create()
    place.config.write_text(f"replicas: {{network: {request.param}}}\n")
    (place.packages / "p").mkdir()
    behave(place, "ok")
    yield place
    for one in scan(place.root):
        one.process.kill()


def behave(home: Home, how: str) -> None:
    (home.packages / "p" / "behaviour").write_text(how)


def revision(**runtime: float) -> Revision:
    return Revision(
        id="abc123def0", endpoint="digits", model="digits", version="1", digest="sha256:0", runtime=Runtime(**runtime)
    )


async def target(home: Home) -> LocalTarget:
    network = load(home, {}).replicas.network
    local = LocalTarget(home, lambda revision: Unpacked(home.packages / "p"), command=STAND_IN, network=network)
    await local.adopt()
    return local


async def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)


async def ready(local: LocalTarget, n: int) -> list[int]:
    async def there() -> bool:
        standing = await local.endpoints("abc123def0")
        return standing.ready == n == len(standing.replicas)

    await until(there)
    return await pids(local)


async def pids(local: LocalTarget) -> list[int]:
    """Of the replicas that have a process."""
    used = await local.usage()
    return [used[one.id].pid for one in (await local.endpoints("abc123def0")).replicas if one.id in used]


async def replaced(local: LocalTarget, n: int, gone: int) -> bool:
    """Whether `n` are ready, each with a process that is not the one that is gone."""
    found = await pids(local)
    return (await local.endpoints("abc123def0")).ready == n == len(found) and gone not in found


async def test_scale_up_down_and_remove_leave_nothing(home: Home):
    local = await target(home)
    await local.scale(revision(), 3)
    await ready(local, 3)
    assert all(path.stat().st_mode & 0o077 == 0 for path in [home.run, folder(home)])
    await local.scale(revision(), 1)

    async def draining() -> bool:
        return [r.phase for r in (await local.endpoints("abc123def0")).replicas].count("draining") == 2

    await until(draining)
    await local.release([r.id for r in (await local.endpoints("abc123def0")).replicas if r.phase == "draining"])
    await ready(local, 1)
    await local.stop()
    assert list(scan(home.root)) == []
    assert list(folder(home).iterdir()) == []


async def test_a_killed_replica_comes_back_in_its_slot(home: Home):
    local = await target(home)
    await local.scale(revision(), 2)
    first = await ready(local, 2)
    os.kill(first[0], signal.SIGKILL)
    await until(lambda: replaced(local, 2, first[0]))
    standing, used = await local.endpoints("abc123def0"), await local.usage()
    assert sorted(r.id for r in standing.replicas) == ["digits-abc123-0", "digits-abc123-1"]
    assert [r.restarts for r in standing.replicas if used[r.id].pid not in first] == [1]
    await local.stop()
    ends = "".join(path.read_text() for path in home.logs.glob("digits-*.log"))
    assert ends.count("is gone: killed by signal 9\n") == ends.count("is gone") == 1


async def test_a_hung_replica_is_replaced(home: Home):
    local = await target(home)
    await local.scale(revision(), 1)
    first = await ready(local, 1)
    await ask((await local.endpoints("abc123def0")).replicas[0].http, "/hang", 1.0)
    await until(lambda: replaced(local, 1, first[0]))
    assert not psutil.pid_exists(first[0])
    await local.stop()


@pytest.mark.parametrize(("how", "why"), [("refuse", "golden example 3"), ("crash", "no such luck")])
async def test_a_replica_that_cannot_start_says_why_and_takes_no_traffic(home: Home, how: str, why: str):
    behave(home, how)
    local = await target(home)
    await local.scale(revision(), 1)
    await until(lambda: _failed(local, why))
    assert (await local.endpoints("abc123def0")).ready == 0
    behave(home, "ok")
    await local.retry("abc123def0")
    await ready(local, 1)
    assert (await local.endpoints("abc123def0")).failed == ""
    await local.stop()


async def _failed(local: LocalTarget, why: str) -> bool:
    return why in (await local.endpoints("abc123def0")).failed


async def test_adoption_keeps_every_process(home: Home):
    local = await target(home)
    await local.scale(revision(threads=0), 2)
    pids = await ready(local, 2)
    await local.close()
    again = await target(home)
    assert [r.id for r in await again.revisions()] == ["abc123def0"]
    assert sorted(await ready(again, 2)) == sorted(pids)
    await again.scale(revision(threads=0), 2)
    os.kill(pids[0], signal.SIGKILL)
    await until(lambda: replaced(again, 2, pids[0]))
    await again.stop()
    assert list(scan(home.root)) == []


async def test_threads_are_the_share_of_the_machine(home: Home):
    local = await target(home)
    await local.scale(revision(), 2)
    await ready(local, 2)
    for path in folder(home).glob("*.json"):
        assert f'"threads": {max(1, cores() // 2)}' in path.read_text()
    await local.stop()


async def test_a_home_too_deep_for_sockets_is_refused(tmp_path: Path):
    deep = Home(tmp_path / ("x" * 90)).create()
    with pytest.raises(InvalidArgument, match="ARGOSY_HOME"):
        LocalTarget(deep, lambda revision: Unpacked(deep.packages))


async def test_a_package_that_cannot_be_unpacked_is_the_reason(home: Home):
    def fetch(revision: Revision) -> Unpacked:
        raise InvalidArgument("sha256:0 is not in the store")

    local = LocalTarget(home, fetch, command=STAND_IN)
    await local.adopt()
    await local.scale(revision(), 1)
    await until(lambda: _failed(local, "not in the store"))
    await local.stop()


async def test_a_package_that_has_to_be_signed(home: Home, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(group, "RETRY_UNPACK", 0.05)
    signed = False

    def fetch(revision: Revision) -> Unpacked:
        if not signed:
            raise BadSignature(f"{revision.model}:{revision.version} is not signed")
        return Unpacked(home.packages / "p", signed=True)

    local = LocalTarget(home, fetch, command=STAND_IN)
    await local.adopt()
    await local.scale(revision(), 1)
    await until(lambda: _failed(local, "its package is refused: digits:1 is not signed"))
    signed = True
    await ready(local, 1)
    (told,) = folder(home).glob("*.json")
    assert msgspec.json.decode(told.read_bytes())["models"][0]["exact"] is True
    await local.stop()


async def test_what_serves_goes_on_when_its_signature_counts_no_more(home: Home):
    first = await target(home)
    await first.scale(revision(), 1)
    pids = await ready(first, 1)
    await first.close()

    def fetch(revision: Revision) -> Unpacked:
        raise BadSignature("digits:1 is not signed")

    second = LocalTarget(home, fetch, command=STAND_IN)
    await second.adopt()
    await second.scale(revision(), 2)
    await until(lambda: _failed(second, "its package is refused: digits:1 is not signed"))
    assert await ready(second, 1) == pids
    os.kill(pids[0], signal.SIGKILL)
    await until(lambda: _empty(second))
    await second.stop()


async def test_a_replica_that_uses_more_memory_than_declared_is_replaced(home: Home):
    behave(home, "never")  # one that serves would go on until another does
    local = await target(home)
    declared = msgspec.structs.replace(revision(), resources=Resources(memory=1024 * 1024))
    await local.scale(declared, 1)

    async def failed() -> bool:
        return "1 MiB are declared" in (await local.endpoints("abc123def0")).failed

    await until(failed)
    await local.stop()


async def test_a_replica_that_never_becomes_ready_is_replaced_and_says_what_it_was_at(home: Home):
    behave(home, "never")
    local = await target(home)
    await local.scale(revision(start_timeout=0.3), 1)

    async def loading() -> bool:
        return any("loads its model" in each.doing for each in (await local.endpoints("abc123def0")).replicas)

    await until(loading)
    await until(lambda: _failed(local, "not ready after 0.3 s (it loads its model and checks it)"))
    behave(home, "ok")
    await ready(local, 1)
    await local.stop()


async def test_a_retry_looks_at_the_package_only_where_starts_failed(home: Home):
    looked: list[str] = []
    trusted = False

    def fetch(revision: Revision) -> Unpacked:
        looked.append(revision.digest)
        return Unpacked(home.packages / "p", trusted=trusted)

    local = LocalTarget(home, fetch, command=STAND_IN)
    await local.adopt()
    await local.scale(revision(), 1)
    await ready(local, 1)
    await local.retry("abc123def0")
    await local.scale(revision(), 2)
    await ready(local, 2)
    assert len(looked) == 1
    await local.scale(revision(), 0)
    await local.release([each.id for each in (await local.endpoints("abc123def0")).replicas])
    await until(lambda: _empty(local))
    behave(home, "refuse")
    await local.scale(revision(), 1)
    await until(lambda: _failed(local, "golden example 3"))
    before, trusted = len(looked), True
    behave(home, "ok")
    await local.retry("abc123def0")
    await ready(local, 1)
    assert len(looked) == before + 1
    (told,) = folder(home).glob("*.json")
    assert msgspec.json.decode(told.read_bytes())["models"][0]["trusted"] is True, "the first start is told of it"
    await local.stop()


async def _empty(local: LocalTarget) -> bool:
    return not (await local.endpoints("abc123def0")).replicas


async def test_what_every_replica_uses_is_said_by_its_id(home: Home):
    local = await target(home)
    await local.scale(revision(), 2)
    first, second = await ready(local, 2)
    used = await local.usage()
    assert {each.pid for each in used.values()} == {first, second}
    assert all(each.cpu > 0 and each.memory > 2**20 for each in used.values())
    await local.scale(revision(), 0)
    await local.stop()
    assert await local.usage() == {}
