"""Unix sockets that one user can reach, and one process listens on."""

import os
import stat
from pathlib import Path

import pytest

from argosy.process import sockets
from argosy.spec.errors import Conflict, InvalidArgument

ROOT = Path(sockets.__file__).parents[1]


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s")


@pytest.mark.parametrize("exclusive", [False, True])
def test_one_that_a_dead_process_left_is_replaced_and_nobody_else_gets_in(place: Path, exclusive: bool):
    path = place / "a.sock"
    before = os.umask(0)
    try:
        for _ in range(2):
            with sockets.bind(path, exclusive=exclusive) as bound:
                assert stat.S_IMODE(path.stat().st_mode) == 0o600
                assert not sockets.listened(path)
                bound.listen()
                assert sockets.listened(path)
    finally:
        os.umask(before)


def test_there_is_no_moment_at_which_others_could_connect(place: Path, monkeypatch: pytest.MonkeyPatch):
    """Its mode is right before it is set."""
    seen: list[int] = []
    chmod = Path.chmod

    def watched(path: Path, mode: int) -> None:
        seen.append(stat.S_IMODE(path.stat().st_mode))
        chmod(path, mode)

    monkeypatch.setattr(Path, "chmod", watched)
    before = os.umask(0)
    try:
        sockets.bind(place / "a.sock").close()
    finally:
        os.umask(before)
    assert seen == [0o600]


def test_one_that_is_listened_on_is_left_alone_where_it_is_another_s(place: Path):
    path = place / "a.sock"
    with sockets.bind(path) as first:
        first.listen()
        made = path.stat().st_ino
        with pytest.raises(Conflict, match="another process listens"):
            sockets.bind(path, exclusive=True)
        assert path.stat().st_ino == made
        with sockets.bind(path) as second:
            second.listen()
            assert sockets.listened(path)


def test_a_path_that_is_too_long_says_so(place: Path):
    with pytest.raises(InvalidArgument, match="more than 107 bytes"):
        sockets.bind(place / ("x" * 107))
    name = "x" * (sockets.PATH_BYTES - len(os.fsencode(place)) - 1)
    sockets.bind(place / name).close()


def test_no_descriptor_is_left_where_it_fails(place: Path):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with pytest.raises(OSError, match="No such file"):
            sockets.bind(place / "none" / "a.sock")
    assert len(os.listdir("/proc/self/fd")) == before


def test_nobody_else_binds_unix_sockets():
    text = "socket.socket(socket.AF_UNIX"
    makers = {path for path in ROOT.rglob("*.py") if text in path.read_text() and ".bind(" in path.read_text()}
    assert makers == {ROOT / "process" / "sockets.py"}
