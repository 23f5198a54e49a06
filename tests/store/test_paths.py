import os
import socket
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from argosy.spec.errors import BadPackage, NotFound, PayloadTooLarge
from argosy.store import paths
from argosy.store.paths import check_path, check_tree, walk
from tests.store.samples import write_folder

HOSTILE = ["", "/", "/etc/passwd", "..", "../x", "a/../../x", "a/..", "a//b", "a/", "./a", "a/./b", "a\\b", "C:\\x"]
HOSTILE += ["a\x00b", "a\nb", "\x7f", "\ud800", "x" * 256, "/".join(["x" * 200] * 6), "//a", "\t"]


@pytest.mark.parametrize("path", HOSTILE)
def test_hostile_paths_are_refused(path: str):
    with pytest.raises(BadPackage, match="not allowed"):
        check_path(path)


@given(st.text(alphabet=st.sampled_from("./\\ab ä\x00"), max_size=12) | st.text(max_size=300))
@example("...")
@example("a b/ü.txt")
def test_a_path_that_passes_stays_inside(path: str):
    try:
        check_path(path)
    except BadPackage:
        return
    joined = os.path.normpath(os.path.join("/root/package", path))
    assert joined == f"/root/package/{path}"
    assert PurePosixPath(path).as_posix() == path


@pytest.mark.parametrize("tree", [["a", "a"], ["a", "a/b"], ["a/b/c", "a"], ["x", "a/b", "a/b/c/d"]])
def test_trees_that_cannot_lie_in_one_folder(tree: list[str]):
    with pytest.raises(BadPackage):
        check_tree(tree)


def test_a_walk_is_sorted_and_tells_sizes(tmp_path: Path):
    write_folder(tmp_path, {"b": b"12", "a/z": b"", "a.txt": b"1", "a/b/c": b"123"})
    (tmp_path / "empty").mkdir()
    found = [(entry.path, entry.size) for entry in walk(tmp_path, 6)]
    assert found == [("a.txt", 1), ("a/b/c", 3), ("a/z", 0), ("b", 2)]


def bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def test_a_walk_takes_regular_files_only(tmp_path: Path):
    write_folder(tmp_path / "target", {"f": b"1"})
    makers = {
        "link": lambda path: path.symlink_to("/etc/passwd"),
        "inside": lambda path: path.symlink_to("a"),
        "folder": lambda path: path.symlink_to(tmp_path / "target"),
        "dangling": lambda path: path.symlink_to("nowhere"),
        "fifo": os.mkfifo,
        "socket": bind,
    }
    for name, make in makers.items():
        folder = write_folder(tmp_path / name, {"a": b"1"})
        make(folder / "odd")
        with pytest.raises(BadPackage, match="odd"):
            walk(folder, 100)


def test_names_that_are_no_utf8(tmp_path: Path):
    with open(os.fsencode(tmp_path) + b"/\xff", "wb"):
        pass
    with pytest.raises(BadPackage, match="UTF-8"):
        walk(tmp_path, 100)


def test_bounds_are_kept_before_anything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "huge").touch()
    os.truncate(tmp_path / "huge", 2**40)
    with pytest.raises(PayloadTooLarge, match="max_package_bytes"):
        walk(tmp_path, 2**40 - 1)
    monkeypatch.setattr(paths, "MAX_FILES", 2)
    write_folder(tmp_path, {"a": b"", "b": b""})
    with pytest.raises(BadPackage, match="more than 2 files"):
        walk(tmp_path, 2**41)
    with pytest.raises(NotFound):
        walk(tmp_path / "none", 1)
