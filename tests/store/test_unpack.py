import errno
import os
import threading
import time
from pathlib import Path

import pytest

from argosy.spec.errors import BadPackage, Conflict, NotFound
from argosy.store.durable import sweep
from argosy.store.layout import Layout
from argosy.store.unpack import STAGING
from tests.store.samples import FILES, digest_of, model_manifest, write_folder


@pytest.fixture
def digest(layout: Layout, folder: Path) -> str:
    return layout.put_folder(folder, manifest=model_manifest())


def test_files_are_links_and_read_only(layout: Layout, digest: str, tmp_path: Path):
    out = layout.unpack(digest, tmp_path / "deep" / "out")
    for path, item in layout.files(digest).items():
        status = (out / path).stat()
        assert status.st_mode & 0o777 == 0o444
        assert status.st_ino == layout.blobs.path(item.digest).stat().st_ino
    assert [entry.name for entry in out.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EPERM, errno.EMLINK])
def test_where_links_do_not_work_files_are_copied(
    layout: Layout, digest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
):
    def refuse(*_arguments: object, **_options: object) -> None:
        raise OSError(code, "no")

    monkeypatch.setattr(os, "link", refuse)
    out = layout.unpack(digest, tmp_path / "out")
    assert {path: (out / path).read_bytes() for path in FILES} == FILES
    assert all((out / path).stat().st_nlink == 1 for path in FILES)


def test_a_folder_is_taken_as_it_is_or_refused(layout: Layout, digest: str, tmp_path: Path):
    empty = tmp_path / "out"
    empty.mkdir()
    assert layout.unpack(digest, empty) == layout.unpack(digest, empty)
    write_folder(empty, {"extra": b""})
    with pytest.raises(Conflict):
        layout.unpack(digest, empty)
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "file").touch()
    for taken in ("link", "file"):
        with pytest.raises(Conflict):
            layout.unpack(digest, tmp_path / taken)
    with pytest.raises(NotFound):
        layout.unpack(digest_of(1), tmp_path / "new")


def test_many_at_once(layout: Layout, digest: str, tmp_path: Path):
    found: list[object] = []

    def work() -> None:
        try:
            found.append(layout.unpack(digest, tmp_path / "many" / "out"))
        except BaseException as error:
            found.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [tmp_path / "many" / "out"] * 8
    assert [entry.name for entry in (tmp_path / "many").iterdir()] == ["out"]


def test_what_a_kill_left_is_swept_when_it_is_old(tmp_path: Path):
    old, young = tmp_path / f"{STAGING}old", tmp_path / f"{STAGING}young"
    for folder in (old, young):
        write_folder(folder, {"a/b": b""})
    os.utime(old, (time.time() - 100, time.time() - 100))
    sweep(tmp_path.glob(STAGING + "*"), 50)
    assert (old.exists(), young.exists()) == (False, True)


def test_a_missing_blob_is_named_and_nothing_is_left(layout: Layout, digest: str, tmp_path: Path):
    layout.blobs.path(layout.files(digest)["golden/inputs.oip"].digest).unlink()
    with pytest.raises(BadPackage, match=r"golden/inputs\.oip.*missing"):
        layout.unpack(digest, tmp_path / "new" / "out")
    assert list((tmp_path / "new").iterdir()) == []
