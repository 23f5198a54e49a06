"""What only the local target does: processes with a slot, files and threads of this machine."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from argosy.spec.endpoint import Resources
from argosy.spec.errors import BadSignature, InvalidArgument
from argosy.spec.revision import Revision
from argosy.spec.settings import Home
from argosy.targets import group
from argosy.targets.launch import Unpacked, folder
from argosy.targets.local import LocalTarget, cores, own_gpus, prefetch, resident
from argosy.targets.tags import scan
from tests.targets.lab import ID, STAND_IN, LocalLab, authority, empty, failed, ready, revision, until


@pytest.fixture(params=["unix", "tls"])
def lab(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[LocalLab]:
    """On this machine, reached either way."""
    made = LocalLab(Home(tmp_path_factory.mktemp("h")), request.param)
    yield made
    made.close()


async def pids(local: LocalTarget) -> list[int]:
    """Of the replicas that have a process."""
    used = await local.usage()
    return [used[one.id].pid for one in (await local.endpoints(ID)).replicas if one.id in used]


async def test_files_of_replicas_are_for_their_owner(lab: LocalLab):
    local = await lab.target()
    await local.scale(revision(), 1)
    await ready(local, 1)
    assert all(path.stat().st_mode & 0o077 == 0 for path in [lab.home.run, folder(lab.home)])
    await local.stop()


async def test_a_killed_replica_comes_back_in_its_slot(lab: LocalLab):
    local = await lab.target()
    await local.scale(revision(), 2)
    await ready(local, 2)
    first = await pids(local)
    os.kill(first[0], signal.SIGKILL)

    async def replaced() -> bool:
        return (await local.endpoints(ID)).ready == 2 == len(found := await pids(local)) and first[0] not in found

    await until(replaced)
    standing, used = await local.endpoints(ID), await local.usage()
    assert sorted(r.id for r in standing.replicas) == ["digits-abc123-0", "digits-abc123-1"]
    assert [r.restarts for r in standing.replicas if used[r.id].pid not in first] == [1]
    await local.stop()
    ends = "".join(path.read_text() for path in lab.home.logs.glob("digits-*.log"))
    assert ends.count("is gone: killed by signal 9\n") == ends.count("is gone") == 1


async def test_threads_are_the_share_of_the_machine(lab: LocalLab):
    local = await lab.target()
    await local.scale(revision(), 2)
    await ready(local, 2)
    for path in folder(lab.home).glob("*.json"):
        assert f'"threads": {max(1, cores() // 2)}' in path.read_text()
    await local.stop()


async def test_a_home_too_deep_for_sockets_is_refused(tmp_path: Path):
    deep = Home(tmp_path / ("x" * 90)).create()
    with pytest.raises(InvalidArgument, match="ARGOSY_HOME"):
        LocalTarget(deep, lambda revision: Unpacked(deep.packages), signs=lambda: authority(deep))


async def test_a_package_that_has_to_be_signed(lab: LocalLab, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(group, "RETRY_UNPACK", 0.05)
    signed = False

    def fetch(revision: Revision) -> Unpacked:
        if not signed:
            raise BadSignature(f"{revision.model}:{revision.version} is not signed")
        return Unpacked(lab.home.packages / "p", signed=True)

    local = LocalTarget(lab.home, fetch, signs=lambda: authority(lab.home), command=STAND_IN)
    await local.adopt()
    await local.scale(revision(), 1)
    await until(lambda: failed(local, "its package is refused: digits:1 is not signed"))
    signed = True
    await ready(local, 1)
    (told,) = folder(lab.home).glob("*.json")
    assert msgspec.json.decode(told.read_bytes())["models"][0]["exact"] is True
    await local.stop()


async def test_a_replica_that_uses_more_memory_than_declared_is_replaced(lab: LocalLab):
    lab.behave("never")  # one that serves would go on until another does
    local = await lab.target()
    declared = msgspec.structs.replace(revision(), resources=Resources(memory=1024 * 1024))
    await local.scale(declared, 1)

    await until(lambda: failed(local, "1 MiB are declared"))
    await local.stop()


async def test_a_retry_looks_at_the_package_only_where_startsfailed(lab: LocalLab):
    looked: list[str] = []
    trusted = False

    def fetch(revision: Revision) -> Unpacked:
        looked.append(revision.digest)
        return Unpacked(lab.home.packages / "p", trusted=trusted)

    local = LocalTarget(lab.home, fetch, signs=lambda: authority(lab.home), command=STAND_IN)
    await local.adopt()
    await local.scale(revision(), 1)
    await ready(local, 1)
    await local.retry(ID)
    await local.scale(revision(), 2)
    await ready(local, 2)
    assert len(looked) == 1
    await local.scale(revision(), 0)
    await local.release([each.id for each in (await local.endpoints(ID)).replicas])
    await until(lambda: empty(local))
    lab.behave("refuse")
    await local.scale(revision(), 1)
    await until(lambda: failed(local, "golden example 3"))
    before, trusted = len(looked), True
    lab.behave("ok")
    await local.retry(ID)
    await ready(local, 1)
    assert len(looked) == before + 1
    (told,) = folder(lab.home).glob("*.json")
    assert msgspec.json.decode(told.read_bytes())["models"][0]["trusted"] is True, "the first start is told of it"
    await local.stop()


@pytest.mark.parametrize(
    ("count", "taken", "own"),
    [
        (1, [], ("a",)),
        (1, [("a",), ("b",)], ("c",)),
        (2, [("b",)], ("a", "c")),
        (1, [("a", "b"), ("c",), ("a",), ("c",)], ("b",)),
        (4, [("a",)], ("b", "c", "a")),
        (0, [], ()),
    ],
    ids=["first", "free", "two", "shared", "all", "none"],
)
def test_which_gpus_are_its_own(count: int, taken: list[tuple[str, ...]], own: tuple[str, ...]):
    assert own_gpus(count, ("a", "b", "c"), taken) == own


async def test_each_replica_has_gpus_of_its_own_and_an_adopted_one_keeps_them(
    lab: LocalLab, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5, GPU-1b")
    declared = msgspec.structs.replace(revision(), resources=Resources(gpu=1))

    def seen() -> set[str]:
        return {one.process.environ()["CUDA_VISIBLE_DEVICES"] for one in scan(lab.home.root) if one.leader}

    local = await lab.target()
    assert (await local.capacity()).gpus == 3
    await local.scale(declared, 2)
    await ready(local, 2)
    assert seen() == {"4", "5"}
    await local.close()
    again = await lab.target()
    await again.scale(declared, 3)
    await ready(again, 3)
    assert seen() == {"4", "5", "GPU-1b"}
    await again.stop()


async def test_ends_are_known_that_no_target_saw(lab: LocalLab):
    local = await lab.target()
    await local.scale(revision(), 2)
    await ready(local, 2)
    runs = {each.run for each in (await local.endpoints(ID)).replicas}
    first, _ = await pids(local)
    os.kill(first, signal.SIGKILL)

    async def seen() -> bool:
        return len(local.ends()) == 1

    await until(seen)
    await local.close()
    lab.close()

    async def gone() -> bool:
        return not [*scan(lab.home.root)]

    await until(gone)
    again = await lab.target()
    assert again.ends().keys() >= runs
    assert all(replica.started <= at <= time.time() for replica, at in again.ends().values())
    assert not [*folder(lab.home).iterdir()]
    await again.stop()


async def test_usage_names_the_process(lab: LocalLab):
    local = await lab.target()
    await local.scale(revision(), 2)
    await ready(local, 2)
    found = {one.process.pid for one in scan(lab.home.root)}
    assert {each.pid for each in (await local.usage()).values()} == found
    await local.stop()


def test_weights_are_read_ahead_into_the_page_cache(tmp_path: Path):
    folder = tmp_path / "weights"
    (folder / "deep").mkdir(parents=True)
    assert resident(folder) == 0.0
    for path in (folder / "a", folder / "deep" / "b"):
        path.write_bytes(os.urandom(1 << 20))
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    (folder / "empty").touch()
    before = resident(folder)
    prefetch(folder)
    until = time.monotonic() + 60
    while resident(folder) < 1 and time.monotonic() < until:
        time.sleep(0.01)
    assert before <= resident(folder) == 1.0
    assert resident(tmp_path / "nothing") == 0.0
