"""Where images are written: kills, full disks, several builds at once, and what lies there already."""

import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from argosy.images.image import Contents, check_place, write_archive, write_folder
from argosy.images.layers import LayerCache
from argosy.images.tree import Tree
from argosy.spec.errors import Conflict, StorageFull
from tests.images.crashing import contents, files
from tests.store.test_blobs import tiny

__all__ = ["tiny"]


def test_a_build_that_is_killed_anywhere_leaves_one_image_and_room_for_the_next(tmp_path: Path):
    command = [sys.executable, "-m", "tests.images.crashing", str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout.split()[0]) > 20


def test_two_builds_at_once_leave_the_image_of_one(tmp_path: Path):
    one, other = contents(tmp_path, "one"), contents(tmp_path, "other")
    folder = tmp_path / "oci"
    with ThreadPoolExecutor(4) as pool:
        for _ in range(10):
            list(pool.map(lambda found: write_folder(found, folder), [one, other, one, other]))
            assert files(folder) in ({*one.blobs}, {*other.blobs})
            last = one if files(folder) == {*one.blobs} else other
            assert (folder / "index.json").read_bytes() == last.index


def test_a_full_disk_leaves_the_image_that_was_there(tiny: Path, tmp_path: Path):
    folder, old = tiny / "oci", contents(tmp_path, "old")
    write_folder(old, folder)
    large = contents(tmp_path, "large", size=2_000_000)
    with pytest.raises(StorageFull, match="nothing was changed"):
        write_folder(large, folder)
    assert (folder / "index.json").read_bytes() == old.index
    assert {*old.blobs} <= files(folder) < {*old.blobs, *large.blobs}
    with pytest.raises(StorageFull):
        write_archive(large, tiny / "image.tar", 0)
    assert [path.name for path in tiny.iterdir()] == ["oci"]
    write_folder(old, folder)
    assert files(folder) == {*old.blobs}


def test_a_layer_for_which_there_is_no_room_is_not_half_there(tiny: Path):
    cache, tree = LayerCache(tiny / "layers", "gzip", 0), Tree()
    tree.file("a", random.Random(1).randbytes(2_000_000))
    with pytest.raises(StorageFull):
        cache.layer("a", [1], lambda: tree)
    assert list(cache.folder.iterdir()) == []


def test_only_a_layout_or_a_file_is_replaced(tmp_path: Path):
    check_place(tmp_path / "new", archive=False)
    check_place(tmp_path, archive=False)
    write_folder(contents(tmp_path / "oci", "old"), tmp_path / "oci")
    check_place(tmp_path / "oci", archive=False)
    (tmp_path / "file").touch()
    check_place(tmp_path / "file", archive=True)
    for place, archive in ((tmp_path, False), (tmp_path / "file", False), (tmp_path, True)):
        with pytest.raises(Conflict, match="name a f"):
            check_place(place, archive=archive)


def test_an_archive_is_a_file_in_a_folder_that_is_made(tmp_path: Path):
    found: Contents = contents(tmp_path, "one")
    write_archive(found, tmp_path / "new" / "image.tar", 0)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["image.tar"]


def test_a_build_of_what_is_cached_imports_no_arrays_and_no_registries():
    """They would take a third of the time of a build after a change of the model."""
    modules = (
        "argosy.images.build, argosy.packaging.options, argosy.client.local, argosy.store.store, argosy.images.image"
    )
    script = f"import sys, {modules}; print(*{{'numpy', 'psutil', 'httpx', 'onnxruntime'}} & sys.modules.keys())"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == ""
