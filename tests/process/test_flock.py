"""Locks on files: one holder, whatever becomes of the file and of the holder."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from argosy.process import flock

ROOT = Path(flock.__file__).parents[1]


def test_one_holder_at_a_time_which_others_can_name(tmp_path: Path):
    path = tmp_path / "lock"
    assert flock.holder(path) is None
    fd = flock.take(path)
    os.write(fd, b"me")
    assert flock.holder(path) == b"me"
    with pytest.raises(BlockingIOError):
        flock.take(path)
    with pytest.raises(BlockingIOError):
        flock.take(path, patience=0.05)
    os.close(fd)
    assert flock.holder(path) is None
    os.close(flock.take(path))


def test_who_waits_gets_it_when_it_is_given_back(tmp_path: Path):
    fd = flock.take(tmp_path / "lock")
    threading.Timer(0.1, os.close, (fd,)).start()
    os.close(flock.take(tmp_path / "lock", patience=30.0))


def test_a_file_that_was_removed_locks_nothing(tmp_path: Path):
    """A holder removes the file as it ends: two that lock files of one name must not both have it."""
    path = tmp_path / "lock"
    first = flock.take(path)
    waiting: list[int] = []
    thread = threading.Thread(target=lambda: waiting.append(flock.take(path, patience=30.0)))
    thread.start()
    path.unlink()
    os.close(first)
    thread.join()
    assert os.path.samestat(os.fstat(waiting[0]), path.stat())
    with pytest.raises(BlockingIOError):
        flock.take(path)
    os.close(waiting[0])


def test_it_ends_with_its_process(tmp_path: Path):
    code = "import sys, time; from pathlib import Path; from argosy.process import flock\n"
    code += "flock.take(Path(sys.argv[1])); print('held', flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", code, tmp_path / "lock"], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(BlockingIOError):
            flock.take(tmp_path / "lock")
        other.kill()
        os.close(flock.take(tmp_path / "lock", patience=30.0))


def test_some_share_one_and_others_wait(tmp_path: Path):
    path = tmp_path / "lock"
    path.touch()
    with flock.lock(path, shared=True) as one, flock.lock(path, shared=True, wait=False) as two:
        assert (one, two) == (True, True)
        with flock.lock(path, wait=False) as alone:
            assert not alone
    with flock.lock(path, wait=False) as alone, flock.lock(path, shared=True, wait=False) as other:
        assert (alone, other) == (True, False)


def test_an_error_that_is_no_lock_of_another_is_told(tmp_path: Path):
    with pytest.raises(IsADirectoryError):
        flock.take(tmp_path)
    with pytest.raises(FileNotFoundError):
        flock.take(tmp_path / "none" / "lock")
    assert not os.listdir(tmp_path)


def test_nobody_else_calls_flock():
    found = {path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py") if "import fcntl" in path.read_text()}
    assert found == {"process/flock.py", "store/copies.py"}
    assert "flock" not in (ROOT / "store" / "copies.py").read_text(), "it shares the blocks of files, which is an ioctl"
