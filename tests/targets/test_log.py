import os
from pathlib import Path

from argosy.targets import log


def test_a_log_is_emptied_in_place_past_its_size(tmp_path: Path):
    path = tmp_path / "a.log"
    with path.open("ab") as writer:
        writer.write(b"x" * 100)
        writer.flush()
        assert not log.rotate(path, 100)
        assert log.rotate(path, 99)
        writer.write(b"more\n")
    assert path.read_bytes() == b"more\n"
    assert (tmp_path / "a.log.1").read_bytes() == b"x" * 100
    assert not log.rotate(tmp_path / "none.log")


def test_old_logs_of_replicas_go_and_others_stay(tmp_path: Path):
    for n in range(6):
        path = tmp_path / f"digits-abcdef-{n}.log"
        path.write_text("")
        os.utime(path, (n, n))
    (tmp_path / "gateway.log").write_text("")
    assert log.prune(tmp_path, ["digits-abcdef-0"], keep=2) == 3
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["digits-abcdef-0.log", "digits-abcdef-4.log", "digits-abcdef-5.log", "gateway.log"]


def test_a_note_begins_a_line_of_its_own(tmp_path: Path):
    path = tmp_path / "a.log"
    for before in ("", "whole\n", "half"):
        path.write_text(before)
        log.note(path, "gone")
        lines = path.read_text().splitlines()
        assert lines[:-1] == before.splitlines()
        assert lines[-1].endswith(" ERROR gone")
    log.note(tmp_path / "none" / "a.log", "gone")
