import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from argosy.spec.errors import StorageFull
from argosy.store.blobs import Deposit
from argosy.store.layout import Layout
from tests.store.faults import at_call, no_space
from tests.store.samples import FILES, model_manifest, write_folder


def state(layout: Layout) -> dict[str, bytes]:
    files = (path for path in layout.root.rglob("*") if path.is_file())
    return {str(path.relative_to(layout.root)): path.read_bytes() for path in files}


def test_a_disk_that_fills_up_at_any_point_changes_nothing(layout: Layout, folder: Path, tmp_path: Path):
    other = write_folder(tmp_path / "other", FILES | {"profile.json": b"other"})
    layout.put_folder(other, manifest=model_manifest())
    before, number = state(layout), 1
    while len(layout.index.digests()) == 1:
        with at_call(number, no_space) as calls, suppress(StorageFull):
            layout.put_folder(folder, manifest=model_manifest())
        assert state(layout) == before or calls[-2:] == ["rename", "fsync"]
        number += 1
    assert number > 30
    layout.verify(layout.put_folder(folder, manifest=model_manifest()))


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A disk of one mebibyte."""
    place = tmp_path / "tiny"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("mounting a small disk needs root")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_real_disk_that_is_full(tiny: Path, folder: Path):
    layout = Layout(tiny / "store")
    digest = layout.put_folder(folder, manifest=model_manifest())
    before = state(layout)
    (folder / "weights" / "model.onnx").write_bytes(os.urandom(2_000_000))
    with pytest.raises(StorageFull, match="nothing was changed"):
        layout.put_folder(folder, manifest=model_manifest())
    assert state(layout) == before
    layout.verify(digest)


def test_a_full_disk_of_unpacked_packages(tiny: Path, layout: Layout, folder: Path):
    (folder / "weights" / "model.onnx").write_bytes(os.urandom(2_000_000))
    digest = layout.put_folder(folder, manifest=model_manifest())
    with pytest.raises(StorageFull):
        layout.unpack(digest, tiny / "packages" / "out")
    assert list((tiny / "packages").iterdir()) == []


def test_what_two_pushes_share_outlives_the_failure_of_one(layout: Layout):
    first, second = Deposit(layout.blobs), Deposit(layout.blobs)
    shared = first.data(b"shared")
    assert second.data(b"shared") == shared
    alone = first.data(b"alone")
    first.undo(layout.index.digests)
    assert layout.blobs.path(shared).exists()
    assert not layout.blobs.path(alone).exists()
    second.undo(layout.index.digests)
    assert layout.blobs.path(shared).exists()


def test_what_is_published_is_not_undone(layout: Layout):
    deposit = Deposit(layout.blobs)
    digest = deposit.data(b"manifest")
    deposit.undo(lambda: [digest])
    assert layout.blobs.path(digest).exists()


def test_pushes_at_once(layout: Layout, tmp_path: Path):
    failures: list[BaseException] = []

    def push(number: int) -> None:
        try:
            files = FILES | {"profile.json": b"%d" % (number % 3)}
            folder = write_folder(tmp_path / str(number), files)
            for _ in range(5):
                Layout(layout.root).put_folder(folder, manifest=model_manifest())
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=push, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(layout.index.digests()) == 3
    for digest in layout.index.digests():
        layout.verify(digest)


MEASURE = """
import resource, sys
from pathlib import Path
from argosy.store.layout import Layout
from tests.store.samples import model_manifest
layout = Layout(Path(sys.argv[1]) / "store")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
digest = layout.put_folder(Path(sys.argv[1]) / "package", manifest=model_manifest())
layout.verify(digest)
layout.unpack(digest, Path(sys.argv[1]) / "out")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_large_files_are_streamed(folder: Path, tmp_path: Path):
    os.truncate(folder / "weights" / "model.onnx", 300 * 1024 * 1024)
    command = [sys.executable, "-c", MEASURE, str(tmp_path)]
    result = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    shutil.rmtree(tmp_path / "store")
    assert int(result.stdout) < 30
