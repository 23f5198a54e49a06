"""Plans: which ways there are to a package, that each is made once, and what is kept."""

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from argosy.edge import delta
from argosy.edge.delta import Making, Ways, compression
from argosy.edge.wire import Transfer, TransferPlan
from argosy.spec.errors import ArgosyError, BadPackage, MissingExtra, NotFound, StorageFull, Unavailable
from argosy.store.layout import Layout
from tests.store.samples import FILES, model_manifest, write_folder

WEIGHTS = np.random.default_rng(7).standard_normal(40_000).astype("f4").tobytes()
UNKNOWN = "sha256:" + "1" * 64


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "store")


def put(layout: Layout, folder: Path, weights: bytes) -> str:
    """A package with these weights."""
    return layout.put_folder(write_folder(folder, FILES | {"weights/model.onnx": weights}), manifest=model_manifest())


@pytest.fixture
def old(layout: Layout, tmp_path: Path) -> str:
    return put(layout, tmp_path / "old", WEIGHTS)


@pytest.fixture
def new(layout: Layout, tmp_path: Path) -> str:
    return put(layout, tmp_path / "new", b"metadata" + WEIGHTS)


class InProcess:
    """A child that is none."""

    def __init__(self, *_: object, **__: object) -> None:
        self.jobs: list[Making] = []

    def run(self, _: str, job: Making, __: object) -> Transfer:
        made.append(job.kind)
        return delta.make(job)

    def close(self) -> None:
        pass

    cancel = close


made: list[str] = []


@pytest.fixture
def ways(layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ways]:
    monkeypatch.setattr(delta, "Child", InProcess)
    made.clear()
    ways = Ways(layout, tmp_path / "ways")
    yield ways
    ways.close()


def kinds(plan: TransferPlan) -> list[list[str]]:
    return [[way.kind for way in several] for several in plan.files.values()]


def test_a_device_with_nothing_gets_whole_files(ways: Ways, new: str) -> None:
    plan = ways.plan(new)
    assert set(map(tuple, kinds(plan))) == {("full",)}
    assert len(plan.files) == len(FILES)


def test_a_device_with_a_package_gets_what_changed(ways: Ways, old: str, new: str) -> None:
    plan = ways.plan(new, [old])
    assert kinds(plan) == [["patch", "chunks", "full"]]
    (several,) = plan.files.values()
    assert several[0].bytes < several[1].bytes < several[2].bytes
    assert several[0].base == ways.layout.files(old)["weights/model.onnx"].digest.removeprefix("sha256:")
    assert ways.plan(old, [old]).files == {}


def test_of_an_unknown_package_chunks_are_tried_first(ways: Ways, new: str) -> None:
    plan = ways.plan(new, [UNKNOWN])
    assert ["chunks", "full"] in kinds(plan)


def test_each_way_is_made_once(ways: Ways, old: str, new: str, layout: Layout, tmp_path: Path) -> None:
    first = ways.plan(new, [old])
    assert sorted(made) == ["chunks", "chunks", "full", "patch"]
    assert ways.plan(new, [old]) == first
    again = Ways(layout, tmp_path / "ways")
    assert again.plan(new, [old]) == first
    assert len(made) == 4
    again.close()


def test_what_was_deleted_is_made_again(ways: Ways, old: str, new: str) -> None:
    plan = ways.plan(new, [old])
    ((name, several),) = plan.files.items()
    (ways.folder / name / several[0].blob).unlink()
    assert ways.plan(new, [old]) == plan
    assert made.count("patch") == 2


def test_who_does_not_wait_is_told_to_come_again(ways: Ways, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    go, make = threading.Event(), delta.make
    monkeypatch.setattr(delta, "make", lambda job: go.wait(60) and make(job))
    with pytest.raises(Unavailable, match="being made") as error:
        ways.plan(new, seconds=0)
    go.set()
    assert error.value.retry_after
    assert ways.plan(new).files


def test_the_ways_asked_for_last_are_kept(ways: Ways, old: str, new: str) -> None:
    ways.plan(old)
    names = {each.digest.removeprefix("sha256:") for each in ways.layout.files(old).values()}
    for name in names:
        for each in (ways.folder / name).iterdir():
            os.utime(each, (1, 1))
    ways.kept = 200_000
    ways.plan(new)
    left = {each.name for each in ways.folder.iterdir()}
    assert {each.digest.removeprefix("sha256:") for each in ways.layout.files(new).values()} >= left
    assert ways.layout.files(new)["weights/model.onnx"].digest.removeprefix("sha256:") in left


def test_blobs_of_other_packages_are_none(ways: Ways, old: str, new: str) -> None:
    plan = ways.plan(new, [old])
    ((name, several),) = plan.files.items()
    for each in (name, *(way.blob for way in several)):
        assert ways.blob([new], each).is_file()
        with pytest.raises(NotFound):
            ways.blob([old], each)


def test_an_altered_file_has_no_way(ways: Ways, new: str) -> None:
    path = ways.layout.blobs.path(ways.layout.files(new)["weights/model.onnx"].digest)
    path.chmod(0o644)
    path.write_bytes(b"x" * path.stat().st_size)
    with pytest.raises(Unavailable, match="altered"):
        ways.plan(new)
    with pytest.raises(BadPackage, match="altered"):
        delta.make(Making(kind="full", new=str(path), sha256="0" * 64, into=str(ways.folder)))


def test_an_altered_base_costs_a_patch_alone(ways: Ways, old: str, new: str) -> None:
    path = ways.layout.blobs.path(ways.layout.files(old)["weights/model.onnx"].digest)
    path.chmod(0o644)
    path.write_bytes(b"x" * path.stat().st_size)
    assert kinds(ways.plan(new, [old])) == [["full"]]


def test_what_could_not_be_made_is_tried_again_later(ways: Ways, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Making) -> Transfer:
        raise StorageFull("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(delta, "make", full)
        with pytest.raises(Unavailable, match="no space left"):
            ways.plan(new)
    with pytest.raises(Unavailable, match="no space left"):
        ways.plan(new)
    monkeypatch.setattr(delta, "AGAIN", 0.0)
    assert ways.plan(new).files


@pytest.mark.slow
def test_in_a_child(layout: Layout, tmp_path: Path, old: str, new: str) -> None:
    ways = Ways(layout, tmp_path / "ways")
    assert kinds(ways.plan(new, [old], 60)) == [["patch", "chunks", "full"]]
    ways.close()
    with pytest.raises((ArgosyError, RuntimeError)):
        ways.plan(put(layout, tmp_path / "third", WEIGHTS[8:]), [old])


def test_without_zstd_no_deployment_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(MissingExtra, match="the extra 'edge'"):
        compression()


def test_a_plan_goes_over_the_wire(ways: Ways, old: str, new: str) -> None:
    plan = ways.plan(new, [old])
    assert msgspec.json.decode(msgspec.json.encode(plan), type=TransferPlan) == plan
