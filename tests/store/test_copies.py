import hashlib
import os

import pytest

from argosy.spec.errors import BadPackage
from argosy.store import copies
from argosy.store.copies import BLOCK, CopyProgress, copy


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, 2 * BLOCK + 5])
def test_files_are_copied_and_hashed_in_one_pass(tmp_path, size):
    data = os.urandom(1024) * (size // 1024 + 1)
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(data[:size])
    assert copy({target: source}, "copying", print) == {target: f"sha256:{hashlib.sha256(data[:size]).hexdigest()}"}
    assert target.read_bytes() == data[:size]
    assert not target.samefile(source)


def test_several_files_at_once(tmp_path):
    files = {tmp_path / f"to{number}": tmp_path / f"from{number}" for number in range(12)}
    for number, source in enumerate(files.values()):
        source.write_bytes(b"x" * number)
    found = copy(files, "copying", print)
    assert [found[each] for each in files] == [
        f"sha256:{hashlib.sha256(b'x' * n).hexdigest()}" for n in range(len(files))
    ]


@pytest.mark.parametrize("end", [b"shorter", b"longer, by more than a bit"])
def test_a_file_that_changes_meanwhile_is_refused(tmp_path, monkeypatch, end):
    source, hashed = tmp_path / "a", copies._hashed
    source.write_bytes(b"as it was at first")

    def changed(reader, *rest):
        source.write_bytes(end)
        return hashed(reader, *rest)

    monkeypatch.setattr(copies, "_hashed", changed)
    with pytest.raises(BadPackage, match="a changed while it was being read"):
        copy({tmp_path / "b": source}, "copying", print)


def test_progress_tells_rate_and_time_left():
    now, lines = [0.0], []
    progress = CopyProgress("copying", 10**9, lines.append, lambda: now[0])
    progress.add(10**8)
    now[0] = 2.0
    progress.add(10**8)
    now[0] = 3.0
    progress.add(10**8)
    now[0] = 300.0
    progress.add(10**8)
    assert lines == ["copying: 20%, 100 MB/s, 8 s left", "copying: 40%, 1 MB/s, 7 min 30 s left"]
